package syslog

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Origin is who logs.
type Origin struct {
	Host    string // of the machine, or of the pod
	App     string // "dotmesh-server"
	Version string
	PID     int
}

// severity is that of RFC 5424.
type severity int

const (
	critical      severity = 2
	failed        severity = 3
	warning       severity = 4
	informational severity = 6
)

// facility is RFC 5424's "system daemons".
const facility = 3

// entry is one that klog wrote.
type entry struct {
	at       time.Time
	sequence uint32
	severity severity
	source   string // file.go:12, "" when not known
	text     string
}

// maxText bounds what waits in the queue. It is what log servers take by default.
const maxText = 8 << 10

// parseEntry reads klog's text: "I1122 11:44:02.000000    4711 file.go:12] text".
// What does not begin in that way is all text.
func parseEntry(line []byte) entry {
	line = bytes.TrimRight(line, "\n")
	e := entry{severity: informational}
	head, text, ok := bytes.Cut(line, []byte("] "))
	fields := bytes.Fields(head)
	if !ok || len(fields) != 4 || len(fields[0]) != 5 || bytes.IndexByte(head, '\n') >= 0 {
		return e.saying(line)
	}
	switch fields[0][0] {
	case 'I':
	case 'W':
		e.severity = warning
	case 'E':
		e.severity = failed
	case 'F':
		e.severity = critical
	default:
		return e.saying(line)
	}
	e.source = string(fields[3])
	return e.saying(text)
}

func (e entry) saying(text []byte) entry {
	e.text = string(clip(text, maxText))
	return e
}

// clip cuts between two characters.
func clip[T string | []byte](text T, limit int) T {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:max(limit, 0)]
}

// bom says that UTF-8 follows, which RFC 5424 wants told.
const bom = "\ufeff"

// maxSequence is where RFC 5424 has sequenceId begin anew.
const maxSequence = 1<<31 - 1

// format writes the message, the end of its text cut off where it would be longer
// than limit.
func (o Origin) format(e entry, limit int) []byte {
	var b bytes.Buffer
	b.WriteString("<" + strconv.Itoa(facility*8+int(e.severity)) + ">1 ")
	b.WriteString(e.at.UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
	for _, f := range []struct {
		value string
		most  int
	}{{o.Host, 255}, {o.App, 48}, {strconv.Itoa(o.PID), 128}, {e.source, 32}} {
		b.WriteString(" " + field(f.value, f.most))
	}
	b.WriteString(` [origin software="` + parameter(o.App) + `" swVersion="` + parameter(o.Version) + `"]`)
	b.WriteString(`[meta sequenceId="` + strconv.Itoa(int(e.sequence%maxSequence)+1) + `"] `)
	b.WriteString(bom)
	b.WriteString(clip(printable(e.text), limit-b.Len()))
	return b.Bytes()
}

// field is a value of the header: visible ASCII, "-" for none.
func field(s string, most int) string {
	visible := strings.Map(func(r rune) rune {
		if r < '!' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if visible == "" {
		return "-"
	}
	return visible[:min(len(visible), most)]
}

// maxParameter is what RFC 5424 allows a version.
const maxParameter = 32

// parameter is a value of structured data, which escapes three characters.
func parameter(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`).Replace(clip(printable(s), maxParameter))
}

// printable is UTF-8 whose lines are kept: control characters but those that lay
// text out would be changed on the way.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= ' ' && r != 0x7f {
			return r
		}
		return utf8.RuneError
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}
