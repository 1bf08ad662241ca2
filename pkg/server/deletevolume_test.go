package server

import (
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestSubdotGoesOnlyWithTheLastClaimThatMadeIt(t *testing.T) {
	db, err := dot.ParseSubdot("db")
	if err != nil {
		t.Fatal(err)
	}
	byPVC := func(made bool) dot.Dot {
		return dot.Dot{MadeByPVC: true, Subdots: map[dot.Subdot]dot.SubdotRecord{db: {ProjectID: 1 << 20, MadeByClaim: made}}}
	}
	byDM := byPVC(true)
	byDM.MadeByPVC = false
	once := byPVC(true)
	once.AssignSubdot(dot.RootSubdot, true)
	claim := dot.Volume{CSIName: "pvc-1", Subdot: db}
	byHand := dot.Volume{Subdot: db}
	unfinished := dot.Volume{CSIName: "pvc-1", Subdot: db, State: dot.Creating}
	root := dot.Volume{CSIName: "pvc-2", Subdot: dot.RootSubdot}
	cases := []struct {
		what   string
		dot    dot.Dot
		volume dot.Volume
		others []dot.Volume
		want   bool
	}{
		{"the last claim on what a claim made", byPVC(true), claim, nil, true},
		{"a directory that was there before", byPVC(false), claim, nil, false},
		{"a dot that dm made", byDM, claim, nil, false},
		{"the whole dot", byPVC(true), root, nil, false},
		{"another claim on the whole dot", once, claim, []dot.Volume{root}, false},
		{"a claim on the whole dot that is gone", once, claim, nil, false},
		{"another claim on the subdot", byPVC(true), claim, []dot.Volume{claim}, false},
		{"a claim that was never finished", byPVC(true), unfinished, nil, false},
		{"a PersistentVolume written by hand, whose pod stopped", byPVC(true), byHand, nil, false},
	}
	for _, c := range cases {
		if got := subdotGoes(c.dot, c.volume, c.others); got != c.want {
			t.Errorf("%s: goes %v, want %v", c.what, got, c.want)
		}
	}
}
