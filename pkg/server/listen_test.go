package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"testing"
	"time"
)

// dialFrom connects to a listener of the loopback from one of its addresses.
func dialFrom(t *testing.T, from, address string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 30 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// answers asks for /healthz over a connection that is open.
func answers(c net.Conn) error {
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func TestOneAddressKeepsNobodyOut(t *testing.T) {
	address, _ := starting(t)
	insecure := &tls.Config{InsecureSkipVerify: true}
	hold := make([]net.Conn, apiPerPeer)
	for i := range hold {
		hold[i] = dialFrom(t, "127.0.0.1", address)
	}
	// Handshakes follow the order of the accepts, so that all of them are counted.
	if err := tls.Client(hold[len(hold)-1], insecure).HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := answers(tls.Client(dialFrom(t, "127.0.0.1", address), insecure)); err == nil {
		t.Errorf("one address has more than %d connections", apiPerPeer)
	}
	if err := answers(tls.Client(dialFrom(t, "127.0.0.2", address), insecure)); err != nil {
		t.Errorf("another address: %v", err)
	}
	for _, c := range hold {
		_ = c.Close()
	}
	deadline := time.Now().Add(30 * time.Second)
	for answers(tls.Client(dialFrom(t, "127.0.0.1", address), insecure)) != nil {
		if time.Now().After(deadline) {
			t.Fatal("connections that were closed are still counted")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestStrangersAreHungUpOn(t *testing.T) {
	address, _ := starting(t)
	for _, h2 := range []bool{false, true} {
		protocols := &http.Protocols{}
		protocols.SetHTTP1(!h2)
		protocols.SetHTTP2(h2)
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: protocols}
		c := &http.Client{Transport: transport, Timeout: 30 * time.Second}
		t.Cleanup(c.CloseIdleConnections)
		for path, key := range map[string]string{"/x": "", "/metrics": "wrong", "/healthz": "", "/readyz": ""} {
			for range 2 {
				reused := false
				trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
				r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, "https://"+address+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				if key != "" {
					r.SetBasicAuth("admin", key)
				}
				res, err := c.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if (res.ProtoMajor == 2) != h2 || reused {
					t.Errorf("%s, HTTP/%d: the connection was reused: %v", path, res.ProtoMajor, reused)
				}
				if h2 { // the GOAWAY may come after the answer
					time.Sleep(50 * time.Millisecond)
				}
			}
		}
	}
}

// Kubelet kills a server whose probe fails: what keeps the API's connections must
// not reach it.
func TestProbesHaveTheirOwnListener(t *testing.T) {
	s := &Server{cfg: Config{HealthListen: "127.0.0.1:0"}}
	s.waitFor(io.ErrUnexpectedEOF)
	e, err := s.probes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	address := e.listener.Addr().String()
	for range healthPerPeer {
		dialFrom(t, "127.0.0.2", address)
	}
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/metrics": http.StatusNotFound} {
		res, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want || !res.Close {
			t.Errorf("%s: got %d, closed %v, want %d and closed", path, res.StatusCode, res.Close, want)
		}
	}
	if none, err := (&Server{}).probes(t.Context()); none != nil || err != nil {
		t.Errorf("without an address: got %v, %v", none, err)
	}
}
