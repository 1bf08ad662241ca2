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
