package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/coder/websocket"
)

// talk is a chat client for the terminal: lines typed are said, lines heard are printed. A client that is no browser
// sends no Origin; its token in the Authorization header is what a hostile page cannot send, so the guard admits it.
func talk(ctx context.Context, url, token, pin string, in io.Reader, out io.Writer) error {
	config, err := pinned(pin)
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	c, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: transport},
		HTTPHeader:   http.Header{"Authorization": {"Bearer " + token}},
		Subprotocols: []string{"chat"},
	})
	if err != nil {
		if resp != nil {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
			reason, _ := problem(body)
			return fmt.Errorf("refused with %s: %s", resp.Status, reason)
		}
		return err
	}
	defer c.CloseNow()
	fmt.Fprintln(out, "Connected. Type a line to say it; Ctrl-D leaves.")

	heard := make(chan error, 1)
	go func() { heard <- hear(c, out) }()
	typed := make(chan error, 1)
	go func() { typed <- say(ctx, c, in) }()
	select {
	case <-ctx.Done():
		return c.Close(websocket.StatusNormalClosure, "")
	case err := <-heard:
		return err
	case err := <-typed:
		if err != nil {
			return err
		}
		return c.Close(websocket.StatusNormalClosure, "")
	}
}

func hear(c *websocket.Conn, out io.Writer) error {
	for {
		_, p, err := c.Read(context.Background()) // ends with the connection, so that it can be closed in good order
		if code := websocket.CloseStatus(err); code != -1 {
			return fmt.Errorf("the server closed with %d: %w", code, err)
		}
		if err != nil {
			return err
		}
		var line chatLine
		if err := json.Unmarshal(p, &line); err != nil {
			return err
		}
		at := line.At.Local().Format("15:04:05")
		if line.Kind == "said" {
			fmt.Fprintf(out, "%s  %s: %q\n", at, line.From, line.Text) // %q: a terminal obeys what it prints
		} else {
			fmt.Fprintf(out, "%s  %s %s\n", at, line.From, line.Kind)
		}
	}
}

func say(ctx context.Context, c *websocket.Conn, in io.Reader) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if err := c.Write(ctx, websocket.MessageText, encode(saying{Text: lines.Text()})); err != nil {
			return err
		}
	}
	return lines.Err()
}
