package wssecure

import (
	"fmt"
	"log/slog"
)

// VerdictRow is a reason's row of the table, in the form of testdata/reasons.txt.
func VerdictRow(r Reason) string {
	v := verdicts[r]
	number := func(n int) string {
		if n == 0 {
			return "-"
		}
		return fmt.Sprint(n)
	}
	fails := map[failure]string{failNo: "no", failYes: "yes", failNever: "never"}[v.fails]
	level := map[slog.Level]string{trace: "Debug", info: "Info", warn: "Warn", alarm: "Error"}[v.level]
	return fmt.Sprintf("%s %s %s %s %s %s", r, number(v.status), number(int(v.close)), r.public(), fails, level)
}

// VerdictCount is the number of reasons.
func VerdictCount() int { return len(verdicts) }
