package benchmarks

import (
	"context"
	"io"
	"net"
	"net/http"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
)

// A peer is another library, used the way its own documentation shows.
type peer struct {
	name   string
	accept func(w http.ResponseWriter, r *http.Request) (socket, error)
}

// A socket is one connection of a peer.
type socket interface {
	echo() error // messages back to whom they come from, until the connection ends
	idle() error // waits, for a message or the end
	close() error
}

var peers = []peer{
	{"coder", acceptCoder},
	{"gorilla", acceptGorilla},
	{"gws", acceptGws},
	{"gobwas", acceptGobwas},
}

type coderSocket struct{ *coder.Conn }

func acceptCoder(w http.ResponseWriter, r *http.Request) (socket, error) {
	// Its own check of the origin is off on every side.
	c, err := coder.Accept(w, r, &coder.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(64 << 10)
	return coderSocket{c}, nil
}

func (c coderSocket) echo() error {
	ctx := context.Background()
	for {
		typ, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if err := c.Write(ctx, typ, p); err != nil {
			return err
		}
	}
}

func (c coderSocket) idle() error {
	_, _, err := c.Read(context.Background())
	return err
}

func (c coderSocket) close() error { return c.CloseNow() }

type gorillaSocket struct{ *gorilla.Conn }

var gorillaUpgrader = gorilla.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

func acceptGorilla(w http.ResponseWriter, r *http.Request) (socket, error) {
	c, err := gorillaUpgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(64 << 10)
	return gorillaSocket{c}, nil
}

func (c gorillaSocket) echo() error {
	for {
		typ, p, err := c.ReadMessage()
		if err != nil {
			return err
		}
		if err := c.WriteMessage(typ, p); err != nil {
			return err
		}
	}
}

func (c gorillaSocket) idle() error {
	_, _, err := c.ReadMessage()
	return err
}

func (c gorillaSocket) close() error { return c.Close() }

type gwsSocket struct{ *gws.Conn }

type gwsEcho struct{ gws.BuiltinEventHandler }

func (gwsEcho) OnMessage(c *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }()
	_ = c.WriteMessage(m.Opcode, m.Bytes())
}

var gwsUpgrader = gws.NewUpgrader(gwsEcho{}, &gws.ServerOption{ReadMaxPayloadSize: 64 << 10})

func acceptGws(w http.ResponseWriter, r *http.Request) (socket, error) {
	c, err := gwsUpgrader.Upgrade(w, r)
	if err != nil {
		return nil, err
	}
	return gwsSocket{c}, nil
}

func (c gwsSocket) echo() error {
	c.ReadLoop()
	return io.EOF
}

func (c gwsSocket) idle() error { return c.echo() }

func (c gwsSocket) close() error { return c.NetConn().Close() }

type gobwasSocket struct{ net.Conn }

func acceptGobwas(w http.ResponseWriter, r *http.Request) (socket, error) {
	c, _, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return nil, err
	}
	return gobwasSocket{c}, nil
}

func (c gobwasSocket) echo() error {
	for {
		p, op, err := wsutil.ReadClientData(c)
		if err != nil {
			return err
		}
		if err := wsutil.WriteServerMessage(c, op, p); err != nil {
			return err
		}
	}
}

func (c gobwasSocket) idle() error {
	_, _, err := wsutil.ReadClientData(c)
	return err
}

func (c gobwasSocket) close() error { return c.Close() }
