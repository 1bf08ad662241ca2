package engine

import (
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

func TestHeadLimitOf(t *testing.T) {
	b := dot.Branch{ID: dot.NewBranchID()}
	other := dot.NewBranchID()
	subdot := func(s string) dot.Subdot { return must(dot.ParseSubdot(s)) }
	volume := func(s string, size int64) dot.Volume {
		return dot.Volume{Branch: b.ID, Subdot: subdot(s), SizeBytes: size, State: dot.Ready}
	}
	with := func(v dot.Volume, change func(*dot.Volume)) dot.Volume {
		change(&v)
		return v
	}
	for name, c := range map[string]struct {
		subdots   []string
		volumes   []dot.Volume
		madeByDM  bool
		wantKnown bool
		want      int64
	}{
		"one claim":             {[]string{"a"}, []dot.Volume{volume("a", 5)}, false, true, 5},
		"claims on two subdots": {[]string{"a", "b"}, []dot.Volume{volume("a", 5), volume("b", 7)}, false, true, 12},
		"claims on one subdot":  {[]string{"a"}, []dot.Volume{volume("a", 5), volume("a", 7), volume("a", 0)}, false, true, 7},
		"a claim without size":  {[]string{"a", "b"}, []dot.Volume{volume("a", 5), volume("b", 0)}, false, true, 0},
		"a subdot of the past":  {[]string{"a", "b"}, []dot.Volume{volume("a", 5)}, false, true, 0},
		"a claim that goes":     {[]string{"a", "b"}, []dot.Volume{volume("a", 5), with(volume("b", 7), func(v *dot.Volume) { v.State = dot.Deleting })}, false, true, 0},
		"of another branch":     {[]string{"a", "b"}, []dot.Volume{volume("a", 5), with(volume("b", 7), func(v *dot.Volume) { v.Branch = other })}, false, true, 0},
		"the whole dot":         {[]string{"a", "__root__"}, []dot.Volume{volume("a", 5), volume("__root__", 9)}, false, false, 0},
		"the whole dot, once":   {[]string{"a", "__root__"}, []dot.Volume{volume("a", 5)}, false, true, 0},
		"made by dm":            {[]string{"a"}, []dot.Volume{volume("a", 5)}, true, true, 0},
		"nothing":               {nil, nil, false, true, 0},
	} {
		d := dot.Dot{MadeByPVC: !c.madeByDM}
		for _, s := range c.subdots {
			d.AssignSubdot(subdot(s), true)
		}
		if got := HeadLimitOf(d, b, c.volumes); got.Known != c.wantKnown || got.Bytes != c.want || got.Origin != nil {
			t.Errorf("%s: got %+v, want %v %d", name, got, c.wantKnown, c.want)
		}
	}
}

func TestHeadLimitAtCreation(t *testing.T) {
	d, b := dot.Dot{ID: dot.NewID(), MadeByPVC: true}, dot.Branch{ID: dot.NewBranchID(), Name: dot.MasterBranch}
	d.AssignSubdot(dot.DefaultSubdot, true)
	spec := BranchSpec{Dot: d, Branch: b, Volumes: []dot.Volume{{Branch: b.ID, Subdot: dot.DefaultSubdot, SizeBytes: 80 << 20}}}
	if got, want := must(spec.props())[zfs.PropRefquota], "111149056"; got != want { // 80 + 10 + 16 MiB
		t.Errorf("got %q, want %q", got, want)
	}
	spec.From = &CommitRef{}
	if got, ok := must(spec.props())[zfs.PropRefquota]; ok {
		t.Errorf("a branch that begins at a commit: got %q, want none before it is mounted", got)
	}
}
