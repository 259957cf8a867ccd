// Command proxyprotocol is a server behind load balancers that hand connections on as they are and name the client in a
// PROXY protocol header (HAProxy, nginx stream, AWS Network Load Balancer). TLS ends here, and the guard's Listener sees
// the client's own address.
//
//	go run . cert.pem key.pem https://id.example.com 10.0.0.0/8
//
// The last arguments are the networks of the load balancers: from anywhere else a header is a forgery.
package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/wssecure/wssecure"
)

func main() {
	if len(os.Args) < 5 {
		log.Fatal("usage: proxyprotocol cert.pem key.pem issuer upstream...")
	}
	guard, err := wssecure.New(
		wssecure.SetCertificate(os.Args[1], os.Args[2]),
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.OIDC(os.Args[3], "chat")),
		// No TrustProxies: the connection itself says who the client is, and no header of HTTP does.
	)
	if err != nil {
		log.Fatal(err)
	}
	port, err := net.Listen("tcp", ":443")
	if err != nil {
		log.Fatal(err)
	}
	l, err := listen(guard, port, os.Args[4:])
	if err != nil {
		log.Fatal(err)
	}
	srv := guard.Harden(&http.Server{Handler: guard.ConnHandler(echo)})
	log.Fatal(srv.ServeTLS(l, "", ""))
}

// listen reads PROXY protocol headers below the guard's Listener, and that stands below TLS. Upstreams must send a header;
// whoever else connects is dropped. A header that does not come holds up its own connection alone.
func listen(guard *wssecure.Guard, port net.Listener, upstreams []string) (net.Listener, error) {
	listed, err := proxyproto.TrustProxyHeaderFromRanges(upstreams)
	if err != nil {
		return nil, err
	}
	return guard.Listener(&proxyproto.Listener{Listener: port, ConnPolicy: listed, ReadHeaderTimeout: 5 * time.Second}), nil
}

func echo(ctx context.Context, c *wssecure.Conn) error {
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
