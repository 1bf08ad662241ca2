package dot

import (
	"encoding/json"
	"testing"
)

func FuzzParseFenceDeadline(f *testing.F) {
	for _, s := range []string{
		`{"bootId":"b","at":1,"dataset":"p/dotmesh"}`, `{"bootId":"b","at":-1,"dataset":"p/dotmesh"}`, `{"at":1}`,
		`{"bootId":"b","at":1e30,"dataset":"p"}`, `{"bootId":"b","at":1,"dataset":"p/dotmesh"} x`, `null`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseFenceDeadline(b)
		if err != nil {
			return
		}
		if d.BootID == "" || d.Dataset == "" || d.At <= 0 {
			t.Errorf("accepted %+v", d)
		}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseFenceDeadline(text); err != nil || again != d {
			t.Errorf("%+v is read again as %+v, %v", d, again, err)
		}
	})
}
