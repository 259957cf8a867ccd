package wssecure_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

type order struct {
	Item  string  `json:"item"`
	Count float64 `json:"count"`
	Lines any     `json:"lines"`
}

func TestReadJSON(t *testing.T) {
	type result struct {
		v   order
		err error
	}
	results := make(chan result, 1)
	s := serving(t, func(ctx context.Context, c *wssecure.Conn) error {
		for {
			v, err := wssecure.ReadJSON[order](ctx, c)
			results <- result{v, err}
			if err != nil {
				return err
			}
		}
	})
	t.Run("C-08 well-formed, to the limits", func(t *testing.T) {
		c := connect(t, s)
		send(t, c, text(` {"item":"a","count":2,"lines":`+strings.Repeat("[", 31)+strings.Repeat("]", 31)+"}\n"))
		if r := next(t, results); r.err != nil || r.v.Item != "a" || r.v.Count != 2 {
			t.Errorf("%+v", r)
		}
		c.Close()
		next(t, results)
	})
	for name, message := range map[string]string{
		"unknown field": `{"item":"a","price":1}`, "another case": `{"Item":"a"}`,
		"duplicate": `{"item":"a","item":"b"}`, "duplicate by escape": `{"item":"a","\u0069tem":"b"}`, "nested duplicate": `{"lines":[{"a":1,"a":2}]}`,
		"depth 33":      `{"lines":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`,
		"trailing text": `{"item":"a"}x`, "a second value": `{"item":"a"}{}`, "BOM": "\uFEFF{}", "empty": "", "blanks alone": "  ",
		"NaN": `{"count":NaN}`, "out of range": `{"count":1e400}`, "another type": `{"item":1}`, "cut off": `{"item":"a"`, "a lone surrogate": `{"item":"\ud800"}`,
	} {
		t.Run("C-08 "+name, func(t *testing.T) {
			c := connect(t, s)
			send(t, c, text(message))
			r := next(t, results)
			var rejection *wssecure.Rejection
			if !errors.As(r.err, &rejection) || rejection.Reason != wssecure.ReasonMessageInvalid || rejection.Err == nil || r.v.Item != "" {
				t.Errorf("%+v, want message-invalid with its cause and nothing else", r)
			}
			wantClose(t, c, 1008, "message-invalid")
			c.Close()
		})
	}
	t.Run("C-08 binary", func(t *testing.T) {
		c := connect(t, s)
		send(t, c, probe.Message(probe.Binary, []byte("{}")))
		if r := next(t, results); !errors.Is(r.err, wssecure.ReasonMessageType) {
			t.Errorf("%+v", r)
		}
		wantClose(t, c, 1003, "message-type")
	})
}

func TestWriteJSON(t *testing.T) {
	ring := map[string]any{}
	ring["self"] = ring
	s := serving(t, func(ctx context.Context, c *wssecure.Conn) error {
		for name, v := range map[string]any{"NaN": math.NaN(), "channel": make(chan int), "cycle": ring, "function": func() {}} {
			if err := wssecure.WriteJSON(ctx, c, v); err == nil || ctx.Err() != nil {
				t.Errorf("C-10 %s: %v", name, err)
			}
		}
		return wssecure.WriteJSON(ctx, c, map[string]string{"html": "</script><a>&"})
	})
	c := connect(t, s)
	wantText(t, c, `{"html":"\u003c/script\u003e\u003ca\u003e\u0026"}`)
	wantClose(t, c, 1000, "")
}
