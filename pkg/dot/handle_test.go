package dot

import "testing"

func TestParseVolumeHandle(t *testing.T) {
	id := VolumeIDOf("pvc-1").String()
	cases := map[string]string{
		id:                 id,
		"admin/app":        "admin/app@master.__default__",
		"admin/app@b":      "admin/app@b.__default__",
		"admin/app.db":     "admin/app@master.db",
		"admin/app@b.db":   "admin/app@b.db",
		"admin/a.__root__": "admin/a@master.__root__",
		"":                 "",
		"app":              "",
		"admin/":           "",
		"/app":             "",
		"admin/app@":       "",
		"admin/app.":       "",
		"admin/app/x":      "",
		"../etc":           "",
		"admin/app._x":     "",
	}
	for in, want := range cases {
		h, err := ParseVolumeHandle(in)
		if want == "" {
			if err == nil {
				t.Errorf("ParseVolumeHandle(%q) = %q, want an error", in, h)
			}
			continue
		}
		if err != nil || h.String() != want {
			t.Errorf("ParseVolumeHandle(%q) = %q, %v, want %q", in, h, err, want)
		}
	}
}

func TestParseSnapshotHandle(t *testing.T) {
	id := NewID().String()
	cases := map[string]bool{
		id + "/c1":     true,
		"admin/app/c1": true,
		"app/c1":       false,
		id:             false,
		id + "/":       false,
		"a/b/c/d":      false,
		"a/b/c@d":      false,
	}
	for in, ok := range cases {
		h, err := ParseSnapshotHandle(in)
		if (err == nil) != ok {
			t.Errorf("ParseSnapshotHandle(%q) = %v, want ok %v", in, err, ok)
		}
		if err == nil && h.String() != in {
			t.Errorf("ParseSnapshotHandle(%q) prints as %q", in, h)
		}
	}
}

func FuzzHandles(f *testing.F) {
	f.Add("admin/app@b.db")
	f.Add("0a1b2c3d-0000-4000-8000-000000000000/c1")
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := ParseVolumeHandle(s); err == nil {
			again, err := ParseVolumeHandle(h.String())
			if err != nil || again.String() != h.String() {
				t.Errorf("%q printed as %q, which reads as %q, %v", s, h, again, err)
			}
		}
		if h, err := ParseSnapshotHandle(s); err == nil && h.String() != s {
			t.Errorf("%q printed as %q", s, h)
		}
	})
}
