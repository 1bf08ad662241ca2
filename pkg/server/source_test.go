package server

import (
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestOnlySubdot(t *testing.T) {
	for _, c := range []struct {
		name    string
		subdots []string
		want    string // "" for a refusal
	}{
		{"nothing known", nil, "__default__"},
		{"root alone", []string{"__root__"}, "__default__"},
		{"one", []string{"data"}, "data"},
		{"one and the root", []string{"__root__", "data"}, "data"},
		{"the default among others", []string{"data", "__default__", "logs"}, "__default__"},
		{"a choice", []string{"logs", "data"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := dot.Dot{Subdots: map[dot.Subdot]dot.SubdotRecord{}}
			for _, name := range c.subdots {
				s, err := dot.ParseSubdot(name)
				if err != nil {
					t.Fatal(err)
				}
				d.AssignSubdot(s, true)
			}
			got, err := onlySubdot(d)
			if c.want == "" {
				if dot.CodeOf(err) != dot.CodeInvalid || !strings.Contains(err.Error(), "data, logs") || !strings.Contains(err.Error(), "dotmeshSubdot") {
					t.Errorf("got %v, %v; want a refusal that names both subdots and the annotation", got, err)
				}
				return
			}
			if err != nil || got.String() != c.want {
				t.Errorf("got %v, %v, want %s", got, err, c.want)
			}
		})
	}
}
