package writerlog

import (
	"slices"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	l := Read("start fs=2fc12fc1 last=17 t=1772600000123\nack 18 t=1772600000223\ngap 6100ms before 19 t=1772600006323\nack 19 t=1772600006323\n\nerror write: disk quota exceeded t=1772600006400\nack 1")
	if l.Last != 19 || len(l.Starts) != 1 || len(l.Errors) != 1 || !slices.Equal(l.Gaps, []Gap{{1772600000223, 1772600006323}}) {
		t.Errorf("got %+v", l)
	}
	if rest := l.Since(time.UnixMilli(1772600006324)); len(rest.Gaps) > 0 || len(l.Gaps) != 1 {
		t.Errorf("got %+v of %+v", rest.Gaps, l.Gaps)
	}
}

func TestBeyond(t *testing.T) {
	g := Gap{10_000, 30_000}
	for _, tt := range []struct {
		control []Gap
		want    time.Duration
	}{
		{nil, 20 * time.Second},
		{[]Gap{{0, 10_000}, {30_000, 40_000}}, 20 * time.Second},
		{[]Gap{{0, 10_001}}, 19_999 * time.Millisecond},
		{[]Gap{{5_000, 11_000}, {12_000, 18_000}, {29_000, 50_000}}, 12 * time.Second},
		{[]Gap{{0, 40_000}}, 0},
	} {
		if got := g.Beyond(tt.control); got != tt.want {
			t.Errorf("beyond %v: got %v, want %v", tt.control, got, tt.want)
		}
	}
}
