package syslog

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2"
)

var (
	origin = Origin{Host: "host", App: "dotmesh-test", Version: "v1", PID: 1}
	brisk  = timing{
		reread: 10 * time.Millisecond, connect: time.Second, write: 3 * time.Second,
		retry: 5 * time.Millisecond, retries: 20 * time.Millisecond, resolve: time.Minute,
		quiet: time.Minute, flush: 200 * time.Millisecond,
	}
)

const soon = 10 * time.Second

// started is a Sink, and what names its log server.
func started(t *testing.T, address string) (*Sink, func(address string)) {
	t.Helper()
	dir := t.TempDir()
	set := func(address string) {
		next := filepath.Join(dir, "next")
		if err := os.WriteFile(next, []byte(address+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, AddressFile)); err != nil {
			t.Fatal(err)
		}
	}
	set(address)
	s := start(origin, dir, brisk)
	t.Cleanup(s.Close)
	return s, set
}

func logged(t *testing.T, s *Sink, text string) {
	t.Helper()
	line := "I1122 11:44:02.123456       1 a.go:1] " + text + "\n"
	if n, err := s.Write([]byte(line)); n != len(line) || err != nil {
		t.Errorf("%q: got %d, %v", text, n, err)
	}
}

// udpServer gives its address, and the next message.
func udpServer(t *testing.T) (string, func() string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return "udp://" + conn.LocalAddr().String(), func() string {
		t.Helper()
		b := make([]byte, 64<<10)
		_ = conn.SetReadDeadline(time.Now().Add(soon))
		n, _, err := conn.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		return textOf(t, string(b[:n]))
	}
}

// textOf is what was logged, of a message.
func textOf(t *testing.T, message string) string {
	t.Helper()
	header, text, ok := strings.Cut(message, bom)
	if !ok || !strings.HasPrefix(header, "<30>1 ") && !strings.HasPrefix(header, "<27>1 ") || !strings.Contains(header, " host dotmesh-test 1 ") {
		t.Fatalf("got %q, which is no message of ours", message)
	}
	return text
}

// listen accepts over TCP, at an address that was used before where one is given.
func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(soon))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(soon))
	return conn
}

// frame reads one message that its length comes before.
func frame(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	digits, err := r.ReadString(' ')
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(digits, " "))
	if err != nil || n < 1 || n > maxFrame {
		t.Fatalf("got the length %q, %v", digits, err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return textOf(t, string(b))
}

// TestMain has klog write each entry once, and to what klogTo says.
func TestMain(m *testing.M) {
	all := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(all)
	for name, value := range map[string]string{"logtostderr": "false", "stderrthreshold": "FATAL", "one_output": "true"} {
		if err := all.Set(name, value); err != nil {
			panic(err)
		}
	}
	klog.SetOutput(os.Stderr)
	os.Exit(m.Run())
}

// klogTo sends what this process logs to w.
func klogTo(t *testing.T, w io.Writer) {
	klog.SetOutput(w)
	t.Cleanup(func() { klog.SetOutput(os.Stderr) })
}

func within(t *testing.T, limit time.Duration, what string, do func()) {
	t.Helper()
	begin := time.Now()
	do()
	if took := time.Since(begin); took > limit {
		t.Errorf("%s took %v, want at most %v", what, took, limit)
	}
}

func TestOverUDP(t *testing.T) {
	address, next := udpServer(t)
	s, _ := started(t, address)
	logged(t, s, "one")
	logged(t, s, "two\n\tlines")
	logged(t, s, strings.Repeat("x", 10_000))
	for _, want := range []string{"one", "two\n\tlines"} {
		if got := next(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := next(); len(got) < 1800 || len(got) > maxDatagram {
		t.Errorf("got %d bytes of a long line", len(got))
	}
}

func TestOverTCP(t *testing.T) {
	l := listen(t, "")
	s, _ := started(t, "tcp://"+l.Addr().String())
	want := []string{"one", "two\n\tlines", "", "größer", strings.Repeat("x", maxText)}
	for _, text := range want {
		logged(t, s, text)
	}
	r := bufio.NewReader(accept(t, l))
	for _, text := range want {
		if got := frame(t, r); got != text {
			t.Errorf("got %.80q, want %.80q", got, text)
		}
	}
}

func TestOfKlog(t *testing.T) {
	address, next := udpServer(t)
	s, _ := started(t, address)
	klogTo(t, s)
	klog.Background().WithValues("pool", "p").Info("hello", "lines", "a\nb")
	klog.Background().Error(io.EOF, "broken")
	if got, want := next(), "\"hello\" pool=\"p\" lines=<\n\ta\n\tb\n >"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := next(), "\"broken\" err=\"EOF\""; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReconnects(t *testing.T) {
	l := listen(t, "")
	s, _ := started(t, "tcp://"+l.Addr().String())
	logged(t, s, "one")
	conn := accept(t, l)
	if got := frame(t, bufio.NewReader(conn)); got != "one" {
		t.Errorf("got %q", got)
	}
	_, _ = l.Close(), conn.Close()
	time.Sleep(200 * time.Millisecond) // until the hanging up arrives; what is sent before is lost
	for i := range 3 {
		logged(t, s, fmt.Sprint("while away ", i))
	}
	time.Sleep(50 * time.Millisecond) // some attempts
	r := bufio.NewReader(accept(t, listen(t, l.Addr().String())))
	for i := range 3 {
		if got, want := frame(t, r), fmt.Sprint("while away ", i); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestNeverWaits has a log server that is not there, and one that takes
// connections and nothing more.
func TestNeverWaits(t *testing.T) {
	nobody := listen(t, "")
	_ = nobody.Close()
	stalled := listen(t, "")
	for name, l := range map[string]net.Listener{"dead": nobody, "stalled": stalled} {
		s, _ := started(t, "tcp://"+l.Addr().String())
		within(t, 30*time.Second, name+": logging", func() {
			for range 3 * queueLength {
				logged(t, s, strings.Repeat("x", 4_000))
			}
		})
		if s.lost.Load() == 0 {
			t.Errorf("%s: nothing was lost, so that the queue has no bound", name)
		}
		within(t, soon, name+": closing", s.Close)
	}
}

func TestTellsWhatWasLost(t *testing.T) {
	l := listen(t, "")
	_ = l.Close()
	s, _ := started(t, "tcp://"+l.Addr().String())
	klogTo(t, s)
	const many = 3 * queueLength
	for range many {
		logged(t, s, "x")
	}
	r := bufio.NewReader(accept(t, listen(t, l.Addr().String())))
	arrived, complaints := 0, 0
	for {
		switch text := frame(t, r); {
		case text == "x":
			arrived++
		case strings.Contains(text, "does not take what is logged"):
			complaints++
		case strings.Contains(text, "did not take all"):
			if want := fmt.Sprintf("lost=%d", many-arrived); complaints > 1 || !strings.Contains(text, want) && complaints == 1 {
				t.Errorf("got %q after %d complaints, want %s", text, complaints, want)
			}
			return
		}
	}
}

func TestFollowsTheAddress(t *testing.T) {
	first, next := udpServer(t)
	second, nextOfSecond := udpServer(t)
	s, set := started(t, "")
	klogTo(t, s)
	logged(t, s, "to nobody")
	for _, c := range []struct {
		address, tells string
		next           func() string
	}{
		{first, "is another one", next},
		{"garbage:", "is not used, the last one holds", next},
		{second, "is another one", nextOfSecond},
	} {
		set(c.address)
		if got := c.next(); !strings.Contains(got, c.tells) {
			t.Errorf("%s: got %q, want %q", c.address, got, c.tells)
		}
		logged(t, s, "and then")
		if got := c.next(); got != "and then" {
			t.Errorf("%s: got %q", c.address, got)
		}
	}
	set("")
	for deadline := time.Now().Add(soon); s.wanted.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an address that is gone is used on")
		}
	}
	logged(t, s, "to nobody")
	if len(s.queue) > 0 || s.lost.Load() > 0 {
		t.Errorf("%d entries wait, %d are lost, with nobody to send them to", len(s.queue), s.lost.Load())
	}
}

// TestWithoutSettings has no directory, and one that holds something else.
func TestWithoutSettings(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, AddressFile), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Join(dir, "none"), dir} {
		s := start(origin, dir, brisk)
		logged(t, s, "to nobody")
		within(t, soon, "closing", s.Close)
	}
}

func TestCloseSendsWhatWaits(t *testing.T) {
	address, next := udpServer(t)
	s, _ := started(t, address)
	for range 10 {
		logged(t, s, "x")
	}
	s.Close()
	for range 10 {
		if got := next(); got != "x" {
			t.Errorf("got %q", got)
		}
	}
}
