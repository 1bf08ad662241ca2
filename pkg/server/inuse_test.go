package server

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

func TestWantedPools(t *testing.T) {
	p := testPlane(t)
	now := time.Now()
	p.now = func() time.Time { return now }
	away, served := dot.PoolIDOf(8), dot.PoolIDOf(9)
	if _, err := p.store.AcquirePoolLease(t.Context(), served, store.Instance{Name: "other", BootID: "boot"}, leaseTTL); err != nil {
		t.Fatal(err)
	}
	for _, pool := range []dot.PoolID{p.pool, away, served, away} {
		p.noteWanted(t.Context(), pool)
	}
	if got := p.wanted.list(now.Add(wantedFor)); !slices.Equal(got, []string{away.String()}) {
		t.Errorf("got %v, want %s", got, away)
	}
	if got := p.wanted.list(now.Add(wantedFor + time.Second)); len(got) != 0 {
		t.Errorf("nobody has asked for a while: got %v", got)
	}
}

func status(t *testing.T, s *Server) *v1.GetStatusResponse {
	t.Helper()
	res, err := statusHandler{s}.GetStatus(t.Context(), connect.NewRequest(&v1.GetStatusRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	return res.Msg
}

func TestStatusTellsWhoseThePoolIs(t *testing.T) {
	s := &Server{cfg: Config{NodeName: "here", Zone: "zone-a", Version: "v1", Pool: PoolConfig{Claim: aClaim, Generation: 4}}, released: make(chan struct{})}
	s.waitFor(dot.Unavailable("starting"))
	if got := status(t, s); got.Ready || got.Released || !got.InUse || got.Claim != aClaim || got.Generation != 4 || got.Zone != "zone-a" || got.Version != "v1" {
		t.Errorf("while it starts: got %v", got)
	}
	p := testPlane(t)
	p.health.at = time.Now()
	s.plane.Store(p)
	if got := status(t, s); got.InUse || len(got.Users) > 0 || got.Released {
		t.Errorf("unused: got %v", got)
	}
	s.plane.Store(nil)
	close(s.released)
	if got := status(t, s); !got.Released || got.Ready || got.InUse || got.Conditions[0].Reason != "Released" {
		t.Errorf("released: got %v", got)
	}
}

func TestReleaseIsForThisGeneration(t *testing.T) {
	s := &Server{released: make(chan struct{})}
	s.assignment.Generation = 4
	s.waitFor(dot.Unavailable("starting"))
	for generation, want := range map[uint64]string{3: "of generation 4 and not of 3", 4: "starting"} {
		res, err := s.release(t.Context(), &v1.ReleaseRequest{Generation: generation})
		if err != nil || res.Released || res.Reason == "" {
			t.Errorf("generation %d: got %v, %v, want a refusal: %s", generation, res, err, want)
		}
	}
	close(s.released)
	if res, err := s.release(t.Context(), &v1.ReleaseRequest{Generation: 4}); err != nil || !res.Released {
		t.Errorf("again: got %v, %v", res, err)
	}
	if res, err := s.release(t.Context(), &v1.ReleaseRequest{Generation: 5}); err != nil || res.Released {
		t.Errorf("of another: got %v, %v", res, err)
	}
}

func TestNewerVersion(t *testing.T) {
	dir := t.TempDir()
	s := &Server{cfg: Config{settings: newSettings(dir)}}
	if got := s.cfg.setting(newerVersionSetting); got != "" {
		t.Errorf("none: got %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, newerVersionSetting), []byte("v2.0.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.cfg.setting(newerVersionSetting); got != "v2.0.0" {
		t.Errorf("got %q", got)
	}
	s.waitFor(dot.Unavailable("starting"))
	answer, err := statusHandler{s}.GetVersion(t.Context(), connect.NewRequest(&v1.GetVersionRequest{}))
	if err != nil || answer.Msg.NewerVersion != "v2.0.0" {
		t.Errorf("the version RPC answers %v, %v", answer, err)
	}
	if got := (Config{}).setting(newerVersionSetting); got != "" {
		t.Errorf("without settings: got %q", got)
	}
}

// TestSettingsHold: leave to recover is not taken back by a file that cannot be read.
func TestSettingsHold(t *testing.T) {
	dir := t.TempDir()
	cfg, file := Config{settings: newSettings(dir)}, filepath.Join(dir, recoverSetting)
	if err := os.WriteFile(file, []byte("true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !cfg.rebuilding() {
		t.Error("the setting is not read")
	}
	if err := errors.Join(os.Remove(file), os.Mkdir(file, 0o700)); err != nil {
		t.Fatal(err)
	}
	if !cfg.rebuilding() {
		t.Error("a setting that cannot be read is forgotten")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if cfg.rebuilding() {
		t.Error("a setting that was taken out holds")
	}
}
