package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wssecure/wssecure"
)

// chatRoom is the application: it knows nothing of origins, tokens, limits or close codes, because whoever reaches it has
// passed the guard.
type chatRoom struct {
	lines *board[chatLine]
}

// chatLine is what members are told. From comes from the verified token, never from what the client wrote.
type chatLine struct {
	Kind string    `json:"kind"` // said, joined, left
	From string    `json:"from"`
	Text string    `json:"text,omitempty"`
	At   time.Time `json:"at"`
}

// saying is what a client may send; ReadJSON refuses any other member.
type saying struct {
	Text string `json:"text"`
}

const longestSaying = 500 // characters

func newChatRoom() *chatRoom {
	return &chatRoom{lines: newBoard[chatLine]()}
}

// serve runs one member's session: one goroutine reads, one writes, and the session's context ends both.
func (r *chatRoom) serve(ctx context.Context, c *wssecure.Conn) error {
	name := c.Identity().Subject
	lines, leave := r.lines.watch()
	r.tell("joined", name, "")
	defer func() {
		leave()
		r.tell("left", name, "")
	}()
	go tellMember(ctx, c, lines)
	for {
		said, err := wssecure.ReadJSON[saying](ctx, c)
		if err != nil {
			return err // the guard has closed, or closes now, with the right code
		}
		r.tell("said", name, said.Text)
	}
}

func tellMember(ctx context.Context, c *wssecure.Conn, lines <-chan chatLine) {
	for {
		select {
		case <-ctx.Done():
			return
		case line := <-lines:
			if wssecure.WriteJSON(ctx, c, line) != nil {
				return // the session is over: Read says why
			}
		}
	}
}

func (r *chatRoom) tell(kind, from, text string) {
	r.lines.post(chatLine{Kind: kind, From: from, Text: text, At: time.Now().UTC()})
}

// tidy is a message filter. It sees each message before the room does: an error ends the session with 1008, nil drops the
// message, and what it returns is what the room reads.
func tidy(_ context.Context, _ *wssecure.Conn, _ wssecure.MessageType, p []byte) ([]byte, error) {
	var said saying
	dec := json.NewDecoder(strings.NewReader(string(p)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&said); err != nil {
		return nil, fmt.Errorf("not a chat message: %w", err)
	}
	if utf8.RuneCountInString(said.Text) > longestSaying {
		return nil, errors.New("longer than 500 characters")
	}
	said.Text = strings.TrimSpace(strings.Map(visible, said.Text))
	if said.Text == "" {
		return nil, nil
	}
	return json.Marshal(said)
}

// visible drops control characters and the format characters that turn text around (U+202E) or hide it, except the
// joiners that emoji and several scripts need.
func visible(r rune) rune {
	switch {
	case r == '\u200c', r == '\u200d':
		return r
	case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
		return -1
	}
	return r
}
