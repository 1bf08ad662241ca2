package cli

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzConfig(f *testing.F) {
	for _, s := range []string{
		`{"format":"dotmesh.csi/1","remotes":{}}`,
		`{"format":"dotmesh.csi/1","current":"a","remotes":{"a":{"address":"h:1","user":"admin","apiKey":"k","ca":"x","fingerprint":"SHA256:00"}}}`,
		`{"format":"dotmesh.csi/1","remotes":null}`, `{"format":"dotmesh.csi/1","colour":1}`, `{"CurrentRemote":"local"}`, `[]`, ``, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig("config", data)
		if err != nil {
			return
		}
		if c.Format != configFormat || c.Remotes == nil {
			t.Errorf("accepted %+v", c)
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseConfig("config", text); err != nil || !reflect.DeepEqual(c, again) {
			t.Errorf("%+v is read again as %+v, %v", c, again, err)
		}
	})
}

// The pairs are given one a line.
func FuzzMetadata(f *testing.F) {
	for _, s := range []string{"k=v", "k=", "=v", "k", "k=v=w", "k=1\nk=2", "a.b/c-d_e=\x00", "K=v", "k=\xff", "k=" + strings.Repeat("<", 3000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		pairs := strings.Split(s, "\n")
		metadata, err := parseMetadata(pairs)
		if err != nil {
			return
		}
		if len(metadata) != len(pairs) {
			t.Errorf("%d of %d pairs", len(metadata), len(pairs))
		}
		for _, pair := range pairs {
			key, value, _ := strings.Cut(pair, "=")
			if got, there := metadata[key]; !there || got != value || key == "" || !utf8.ValidString(pair) {
				t.Errorf("%q: got %q", pair, got)
			}
		}
	})
}
