package syslog

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestParseEntry(t *testing.T) {
	const head = "1122 11:44:02.123456    4711 lease.go:41] "
	for in, want := range map[string]entry{
		"I" + head + "\"started\" pool=\"a] b\"\n": {severity: informational, source: "lease.go:41", text: "\"started\" pool=\"a] b\""},
		"W" + head + "careful\n":                   {severity: warning, source: "lease.go:41", text: "careful"},
		"E" + head + "broken\n":                    {severity: failed, source: "lease.go:41", text: "broken"},
		"F" + head + "over\n":                      {severity: critical, source: "lease.go:41", text: "over"},
		"I" + head + "panic=<\n\ta\n\tb\n >\n":     {severity: informational, source: "lease.go:41", text: "panic=<\n\ta\n\tb\n >"},
		"I" + head + "\n":                          {severity: informational, source: "lease.go:41"},
		"X" + head + "what\n":                      {severity: informational, text: "X" + head + "what"},
		"goroutine 1 [running]:\nmain.main()\n":    {severity: informational, text: "goroutine 1 [running]:\nmain.main()"},
		"":                                         {severity: informational},
	} {
		if got := parseEntry([]byte(in)); got != want {
			t.Errorf("%q: got %+v, want %+v", in, got, want)
		}
	}
}

func TestFormat(t *testing.T) {
	origin := Origin{Host: "node-1", App: "dotmesh-server", Version: "v1.2.3", PID: 7}
	at := time.Date(2026, 11, 22, 13, 44, 2, 123456789, time.FixedZone("", 7200))
	const structured = ` [origin software="dotmesh-server" swVersion="v1.2.3"][meta sequenceId="1"] ` + "\ufeff"
	for name, c := range map[string]struct {
		e    entry
		want string
	}{
		"informational":             {entry{severity: informational, source: "a.go:1", text: "hello"}, "<30>1 2026-11-22T11:44:02.123456Z node-1 dotmesh-server 7 a.go:1" + structured + "hello"},
		"a warning":                 {entry{severity: warning, text: "x"}, "<28>1 2026-11-22T11:44:02.123456Z node-1 dotmesh-server 7 -" + structured + "x"},
		"an error":                  {entry{severity: failed, text: "x"}, "<27>1 2026-11-22T11:44:02.123456Z node-1 dotmesh-server 7 -" + structured + "x"},
		"the end":                   {entry{severity: critical, text: "x"}, "<26>1 2026-11-22T11:44:02.123456Z node-1 dotmesh-server 7 -" + structured + "x"},
		"other letters":             {entry{severity: critical, text: "größer ✓"}, "<26>1 2026-11-22T11:44:02.123456Z node-1 dotmesh-server 7 -" + structured + "größer ✓"},
		"no UTF-8":                  {entry{severity: critical, text: "a\xffb"}, "<26>1 2026-11-22T11:44:02.123456Z node-1 dotmesh-server 7 -" + structured + "a\ufffdb"},
		"lines are kept, NUL not":   {entry{severity: critical, text: "a\n\tb\x00\r"}, "<26>1 2026-11-22T11:44:02.123456Z node-1 dotmesh-server 7 -" + structured + "a\n\tb\ufffd\ufffd"},
		"nothing to say":            {entry{severity: critical}, "<26>1 2026-11-22T11:44:02.123456Z node-1 dotmesh-server 7 -" + structured},
		"a source with odd letters": {entry{severity: critical, source: "ä b" + strings.Repeat("c", 40)}, "<26>1 2026-11-22T11:44:02.123456Z node-1 dotmesh-server 7 __b" + strings.Repeat("c", 29) + structured},
	} {
		c.e.at = at
		if got := string(origin.format(c.e, maxFrame)); got != c.want {
			t.Errorf("%s: got\n%q, want\n%q", name, got, c.want)
		}
	}
}

func TestFormatOfAnOddOrigin(t *testing.T) {
	got := string(Origin{Version: "a\"b]c\\d\ne" + strings.Repeat("f", 99)}.format(entry{sequence: maxSequence + 2}, maxFrame))
	want := `<24>1 0001-01-01T00:00:00.000000Z - - 0 - [origin software="" swVersion="a\"b\]c\\d` + "\n" + `e` + strings.Repeat("f", 23) + `"][meta sequenceId="3"] ` + "\ufeff"
	if got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

func TestFormatKeepsTheLimit(t *testing.T) {
	e := entry{severity: informational, text: strings.Repeat("ß", 5000)}
	for limit := range 300 {
		limit += 1900
		got := Origin{Host: "h", App: "a"}.format(e, limit)
		if len(got) > limit || len(got) < limit-1 || !utf8.Valid(got) {
			t.Fatalf("limit %d: got %d bytes, UTF-8 %v", limit, len(got), utf8.Valid(got))
		}
	}
	if got := (Origin{}).format(e, 10); !strings.HasSuffix(string(got), bom) {
		t.Errorf("got %q, want a header and no text", got)
	}
}

func FuzzFormat(f *testing.F) {
	f.Add([]byte("I1122 11:44:02.123456    4711 lease.go:41] text\n"), "host")
	f.Add([]byte("E1122 11:44:02.123456    4711 \xff.go:41] a\x00b\n"), "a b")
	f.Fuzz(func(t *testing.T, line []byte, host string) {
		got := Origin{Host: host, App: host, Version: host}.format(parseEntry(line), maxDatagram)
		header, text, ok := strings.Cut(string(got), bom)
		if !ok || !utf8.Valid(got) || len(got) > maxDatagram || strings.ContainsRune(text, 0) {
			t.Errorf("got %q", got)
		}
		if fields := strings.SplitN(header, " ", 7); len(fields) != 7 || !strings.HasPrefix(fields[6], "[origin ") {
			t.Errorf("got the header %q", header)
		}
	})
}
