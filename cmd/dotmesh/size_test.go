package main

import "testing"

func TestByteSize(t *testing.T) {
	for in, want := range map[string]int64{"10G": 10 << 30, "512MiB": 512 << 20, "64M": 64 << 20, "1024": 1024, "2T": 2 << 40, "3KB": 3 << 10} {
		var b byteSize
		if err := b.Set(in); err != nil || int64(b) != want {
			t.Errorf("%q: got %d, %v, want %d", in, b, err, want)
		}
	}
	for _, in := range []string{"", "G", "-1G", "1.5G", "10X", "9999999P", "10GG", "0"} {
		var b byteSize
		if err := b.Set(in); err == nil {
			t.Errorf("%q: got %d, want an error", in, b)
		}
	}
	b := byteSize(10 << 30)
	if b.String() != "10G" {
		t.Errorf("got %s, want 10G", b.String())
	}
}

func FuzzByteSize(f *testing.F) {
	for _, s := range []string{"10G", "512MiB", "1", "0", "-1G", "1.5G", "9999999P", "8191P", "iB", "10GG", "+1K"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b, again byteSize
		if b.Set(s) != nil {
			return
		}
		if err := again.Set(b.String()); b <= 0 || err != nil || again != b {
			t.Errorf("%q: got %d, then %d from %s, %v", s, b, again, b.String(), err)
		}
	})
}

func TestPoolSize(t *testing.T) {
	for in, want := range map[string]int64{"10G": 10 << 30, "auto": 0} {
		var p poolSize
		if err := p.Set(in); err != nil || int64(p.byteSize) != want || p.String() != in {
			t.Errorf("%q: got %d, %q, %v, want %d", in, p.byteSize, p.String(), err, want)
		}
	}
	for _, in := range []string{"", "0", "Auto"} {
		var p poolSize
		if err := p.Set(in); err == nil {
			t.Errorf("%q: got %d, want an error", in, p.byteSize)
		}
	}
}
