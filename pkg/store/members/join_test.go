package members

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestJoin follows a member from before it is added until its data is lost.
func TestJoin(t *testing.T) {
	a := newAuthority(t)
	one, two := a.member("one"), a.member("two")
	c := open(t, Config{Endpoints: []string{one.client.String()}, TLS: a.client(a.ca)})
	j := Join{
		DataDir: two.config.Dir, PeerURL: two.peer.String(), Endpoints: []string{one.client.String()},
		TLS: func() (*tls.Config, error) { return a.client(a.ca), nil }, Every: 50 * time.Millisecond,
	}
	wants := func(what, reason string) {
		t.Helper()
		if err := j.mayBegin(within(t, 20*time.Second)); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v, want %q", what, err, reason)
		}
	}
	wants("nobody answers", "is not known")
	one.start(t)
	eventually(t, c, "etcd", healthy(1))
	wants("not added", "it is to be added first")

	waited := make(chan error, 1)
	go func() { waited <- j.Wait(t.Context()) }()
	add(t, c, two)
	select {
	case err := <-waited:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits though it was added")
	}

	two.join(t, one)
	all := eventually(t, c, "the learner", healthy(2))
	elsewhere := j
	elsewhere.DataDir = t.TempDir()
	elsewhere, j = j, elsewhere
	wants("the learner's data is lost", "had some: it is to be removed and added anew")
	elsewhere, j = j, elsewhere
	promote(t, c, find(all, two).ID)
	if err := j.Wait(within(t, 20*time.Second)); err != nil {
		t.Errorf("it has its data, but: %v", err)
	}
	j = elsewhere
	wants("its data is lost", "had some: it is to be removed and added anew")
	// What a start leaves that was killed before its first write is no data.
	if err := os.MkdirAll(filepath.Join(j.DataDir, "member", "snap"), 0o700); err != nil {
		t.Fatal(err)
	}
	wants("there is nothing in it", "had some")
	if err := os.MkdirAll(filepath.Join(j.DataDir, "member", "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if has, err := j.hasData(); has || err != nil {
		t.Errorf("an empty log is data: %v, %v", has, err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := j.Wait(ctx); err == nil {
		t.Error("it was started")
	}
}

// TestUnreadableIsNotEmpty: what waits is removed by the operator, for it has no data.
func TestUnreadableIsNotEmpty(t *testing.T) {
	j := Join{
		DataDir: t.TempDir(), Endpoints: []string{"unix:///nobody"},
		TLS: func() (*tls.Config, error) { return nil, nil },
	}
	// Root can read everything that there is; nobody can read a file as a directory.
	if err := os.WriteFile(filepath.Join(j.DataDir, "member"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 5*time.Second)
	if err := j.Wait(ctx); !errors.Is(err, syscall.ENOTDIR) || ctx.Err() != nil {
		t.Errorf("got %v (%v), want the error at once", err, ctx.Err())
	}
}
