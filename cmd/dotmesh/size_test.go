package main

import (
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestPoolSize(t *testing.T) {
	for in, want := range map[string]int64{"10Gi": 10 << 30, "auto": 0} {
		var p poolSize
		if err := p.Set(in); err != nil || p.Bytes() != want || p.String() != in {
			t.Errorf("%q: got %d, %q, %v, want %d", in, p.Bytes(), p.String(), err, want)
		}
	}
	for _, in := range []string{"", "0", "Auto", "10X"} {
		p := poolSize{dot.SizeOf(10 << 30)}
		if err := p.Set(in); err == nil || p.Bytes() != 10<<30 {
			t.Errorf("%q: got %s, %v, want an error and no change", in, p.String(), err)
		}
	}
}
