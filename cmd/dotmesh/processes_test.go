package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestEveryProcessIsLogged runs each role until the log server has heard of it: none gets
// further than to look for what it needs.
func TestEveryProcessIsLogged(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for path, text := range map[string]string{in("kubeconfig"): strings.ReplaceAll(kubeconfig, "https://kube", "https://127.0.0.1:1"), in("dotmesh-api-key.txt"): "key"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const nobody, fingerprint = "127.0.0.1:1", "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	roles := map[string][]string{
		"holder":        nil,
		"etcd-snapshot": {"--endpoint=https://" + nobody, "--dir=" + in("snapshots"), "--every=1s"},
		"etcd-join":     {"--state=existing", "--data-dir=" + in("data")},
		"operator":      {"--kubeconfig=" + in("kubeconfig"), "--image=dotmesh:test"},
		"controller":    {"--endpoint=unix://" + in("controller.sock"), "--server=" + nobody, "--fingerprint=" + fingerprint, "--secret-dir=" + dir, "--without-kubernetes"},
		"node":          {"--endpoint=unix://" + in("node.sock"), "--node-name=n", "--run-dir=" + in("run")},
		"server":        {"--etcd-endpoints=https://" + nobody, "--node-name=n", "--listen=127.0.0.1:0", "--run-dir=" + in("run"), "--pool-location=" + in("pool"), "--secret-dir=" + dir, "--tls-cert=" + in("tls.crt"), "--tls-key=" + in("tls.key")},
	}
	for _, cmd := range newCommand().Commands() {
		if _, known := roles[cmd.Name()]; !known && cmd.Flags().Lookup("settings-dir") != nil {
			t.Errorf("dotmesh %s is not tried", cmd.Name())
		}
	}
	for role, args := range roles {
		t.Run(role, func(t *testing.T) {
			logs := startLogServer(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], append([]string{role, "--settings-dir=" + logs.settings}, args...)...)
			cmd.Env = append(os.Environ(), roleEnv+"=1")
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			logs.wantNext(t, "dotmesh-"+role, "")
			cancel()
			_ = cmd.Wait()
			if t.Failed() {
				t.Log(out.String())
			}
		})
	}
}
