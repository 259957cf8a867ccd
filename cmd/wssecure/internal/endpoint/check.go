package endpoint

import (
	"context"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
)

// A Check looks at one thing of a reached endpoint.
type Check struct {
	finding.Rule
	Run func(ctx context.Context, e *Endpoint) finding.Verdict
}

// Each fills in what the checks of a group have in common where they say nothing themselves.
func Each(common finding.Rule, list ...Check) []Check {
	for i := range list {
		r := &list[i].Rule
		r.Group = common.Group
		r.Refs = append(r.Refs, common.Refs...)
		for _, field := range []struct {
			own    *string
			common string
		}{{&r.Why, common.Why}, {&r.Fix, common.Fix}, {&r.Option, common.Option}} {
			if *field.own == "" {
				*field.own = field.common
			}
		}
	}
	return list
}
