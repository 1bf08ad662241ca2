package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

func TestEtcdJoin(t *testing.T) {
	for state, want := range map[string]string{
		"new": "", "existing": "certificates for etcd cannot be read", "": "neither new nor existing", "$(ETCD_INITIAL_CLUSTER_STATE)": "neither new nor existing",
	} {
		cmd := newEtcdJoinCommand()
		cmd.SetArgs([]string{"--state=" + state, "--data-dir=" + t.TempDir(), "--peer-url=https://x:2380", "--endpoints=https://x:2379"})
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := cmd.ExecuteContext(ctx)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", state, err, want)
		}
	}
}

// A member that waits is told of where all else is.
func TestEtcdJoinIsLogged(t *testing.T) {
	server := startLogServer(t)
	cmd := newEtcdJoinCommand()
	cmd.SetArgs([]string{"--state=existing", "--data-dir=" + t.TempDir(), "--settings-dir=" + server.settings})
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := cmd.ExecuteContext(ctx); err == nil {
		t.Error("a member without data and certificates may start")
	}
	server.wantNext(t, "dotmesh-etcd-join", "etcd is not started")
}
