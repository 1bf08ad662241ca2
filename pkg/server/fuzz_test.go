package server

import (
	"strings"
	"testing"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
)

func FuzzTokens(f *testing.F) {
	for _, s := range []string{"", "invalid-token", "czpzbmFw", snapshotToken("ü"), "00000000-0000-8000-8000-000000000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if name, err := parseSnapshotToken(token); err == nil && token != "" {
			if again, err := parseSnapshotToken(snapshotToken(name)); err != nil || again != name {
				t.Errorf("%q: got %q, %v", name, again, err)
			}
		}
		if id, err := parseVolumeToken(token); err == nil && volumeToken(id) != token {
			t.Errorf("%q: got %q", token, volumeToken(id))
		}
	})
}

func FuzzDotNames(f *testing.F) {
	for _, s := range []string{"", "a", "a/b", "a/b/c", "/", "../x", "ä/b", "a@b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseDotName(s)
		if err != nil {
			return
		}
		if again, err := parseDotName(n.String()); err != nil || again != n || strings.ContainsAny(n.String(), "@# ") {
			t.Errorf("%q: got %s, then %s, %v", s, n, again, err)
		}
	})
}

func FuzzWishes(f *testing.F) {
	f.Add("pvc-1", "admin", "a", "s", "master", "lz4", "128K", "x/y/z", "", int64(1), int64(2))
	f.Add("ü\x00", "..", "@", "__root__", "", "", "", "", "a/b@c.d", int64(-1), int64(0))
	f.Fuzz(func(t *testing.T, name, ns, dotName, subdot, branch, compression, recordSize, snapshot, volume string, required, limit int64) {
		w, err := parseWish(&dotmeshv1.CreateVolumeRequest{
			CsiName: name, DotNamespace: ns, DotName: dotName, Subdot: subdot, Branch: branch, Compression: compression,
			RecordSize: recordSize, SourceSnapshot: snapshot, SourceVolume: volume, RequiredBytes: required, LimitBytes: limit,
		})
		if err != nil {
			return
		}
		if w.namespace.IsZero() || w.branch.IsZero() || w.csiName == "" || len(w.csiName) > maxCSIName || w.required < 0 || limit > 0 && required > limit {
			t.Errorf("accepted %+v", w)
		}
	})
}
