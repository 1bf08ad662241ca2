package dot

import "testing"

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"10G": 10 << 30, "512MiB": 512 << 20, "64M": 64 << 20, "1024": 1024, "2T": 2 << 40, "3KB": 3 << 10,
		"10Gi": 10 << 30, "10GiB": 10 << 30, "10GB": 10 << 30, "8191P": 8191 << 50, "7E": 7 << 60, "1k": 1024, "12B": 12,
		"1.5Gi": 3 << 29, ".5G": 1 << 29, "5.Ki": 5 << 10, "10e9": 10e9, "1E10": 1e10, "1.5e+3": 1500, "1.3Gi": 1395864372, "0.1": 1, "007": 7,
	} {
		if got, err := ParseSize(in); err != nil || got.Bytes() != want {
			t.Errorf("%q: got %d, %v, want %d", in, got.Bytes(), err, want)
		}
	}
	for _, in := range []string{"", "G", "-1G", "+1G", "10X", "9999999P", "10GG", "0", "0.0G", "8E", "1e19", "1e999", "10i", "iB", "100m", "1 G", "1,5G", "1Gb", "1g", "0x10", "1e-1", "10KM", "１G"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("%q: got %d, want an error", in, got.Bytes())
		}
	}
}

func TestSizeString(t *testing.T) {
	for in, want := range map[string]string{"10G": "10Gi", "1536M": "1536Mi", "1000": "1000", "1Ei": "1024Pi", "3K": "3Ki"} {
		if size, err := ParseSize(in); err != nil || size.String() != want {
			t.Errorf("%q: got %s, %v, want %s", in, size, err, want)
		}
	}
	if got := (Size{}).String(); got != "0" {
		t.Errorf("got %q for no size", got)
	}
}

func FuzzSize(f *testing.F) {
	for _, s := range []string{"10G", "10Gi", "512MiB", "1.5Ki", ".5Ei", "10e9", "1E10", "0", "-1Gi", "8191P", "iB", "9223372036854775807", "10GG", "+1K"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		size, err := ParseSize(s)
		if err != nil {
			return
		}
		if again, err := ParseSize(size.String()); size.Bytes() <= 0 || err != nil || again != size {
			t.Errorf("%q: got %d, then %d from %s, %v", s, size.Bytes(), again.Bytes(), size, err)
		}
	})
}
