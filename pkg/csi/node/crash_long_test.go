//go:build zfs && long

package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	mount "k8s.io/mount-utils"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/zfstest"
)

// A node service that is to be killed is a process of its own: this test binary,
// run with this variable set, makes one call and prints the points it passed.
const childVariable = "DOTMESH_TEST_NODE"

// childConfig is what the variable holds, as JSON.
type childConfig struct {
	RunDir, Staging, Target, Call string
	// At is the point to die at, "" for none.
	At crash.Point
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func runChild(text string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	s := &service{
		node: "n1", cluster: "c1", mounter: mount.NewWithoutSystemd(""),
		servers: &servers{runDir: c.RunDir}, writers: writers{dir: c.RunDir + "/csi"},
		crash: func(_ context.Context, p crash.Point) {
			fmt.Println(p)
			if p == c.At {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		},
	}
	return nodeCalls()[c.Call](s, c)
}

// nodeCalls are what kubelet repeats until it succeeds.
func nodeCalls() map[string]func(*service, childConfig) error {
	publish := func(ro bool) func(*service, childConfig) error {
		return func(s *service, c childConfig) error {
			_, err := s.NodePublishVolume(context.Background(), &csi.NodePublishVolumeRequest{
				VolumeId: volumeID, StagingTargetPath: c.Staging, TargetPath: c.Target, PublishContext: attached, Readonly: ro,
				VolumeCapability: capability(csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER),
			})
			return err
		}
	}
	return map[string]func(*service, childConfig) error{
		"stage": func(s *service, c childConfig) error {
			_, err := s.NodeStageVolume(context.Background(), &csi.NodeStageVolumeRequest{
				VolumeId: volumeID, StagingTargetPath: c.Staging, PublishContext: attached,
				VolumeCapability: capability(csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER),
			})
			return err
		},
		"publish":           publish(false),
		"publish-read-only": publish(true),
		"unpublish": func(s *service, c childConfig) error {
			_, err := s.NodeUnpublishVolume(context.Background(), &csi.NodeUnpublishVolumeRequest{VolumeId: volumeID, TargetPath: c.Target})
			return err
		},
		"unstage": func(s *service, c childConfig) error {
			_, err := s.NodeUnstageVolume(context.Background(), &csi.NodeUnstageVolumeRequest{VolumeId: volumeID, StagingTargetPath: c.Staging})
			return err
		},
	}
}

func TestNodeCrashes(t *testing.T) {
	crashes(t, newSite(t, zfstest.New(t, 256<<20, zfs.Config{}), "crashes"))
}

// crashes kills the node service at each point that a call passes, repeats the
// call in another, and compares what is mounted with an undisturbed run.
func crashes(t *testing.T, s *site) {
	cfg := childConfig{RunDir: s.servers.runDir, Staging: s.staging, Target: s.target("t")}
	died := map[crash.Point]bool{}
	call := func(t *testing.T, names ...string) {
		t.Helper()
		for _, name := range names {
			must(t, nodeCalls()[name](s.service, cfg))
		}
	}
	for _, flow := range []struct {
		call   string
		before []string
	}{
		{"stage", nil},
		{"publish", []string{"stage"}},
		{"publish-read-only", []string{"stage"}},
		{"unpublish", []string{"stage", "publish"}},
		{"unstage", []string{"stage"}},
	} {
		t.Run(flow.call, func(t *testing.T) {
			begin := func(t *testing.T) {
				call(t, "unpublish", "unstage")
				call(t, flow.before...)
			}
			begin(t)
			cfg := cfg
			cfg.Call = flow.call
			points, err := child(t, cfg)
			must(t, err)
			want := mounts(t, cfg)
			t.Logf("%d points: %v", len(points), points)
			for _, at := range points {
				begin(t)
				dying := cfg
				dying.At = at
				var killed *exec.ExitError
				if _, err := child(t, dying); !errors.As(err, &killed) || killed.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Errorf("%s: got %v, want to be killed there", at, err)
				}
				died[at] = true
				if _, err := child(t, cfg); err != nil {
					t.Errorf("after a crash at %s: %v", at, err)
				}
				if got := mounts(t, cfg); got != want {
					t.Errorf("after a crash at %s: got\n%s\nwant\n%s", at, got, want)
				}
			}
		})
	}
	call(t, "unpublish", "unstage")
	for _, p := range Points() {
		if !died[p] {
			t.Errorf("no call was killed at %s", p)
		}
	}
}

// child makes one call in a process of its own.
func child(t *testing.T, c childConfig) ([]crash.Point, error) {
	t.Helper()
	text, err := json.Marshal(c)
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	err = cmd.Run()
	var points []crash.Point
	for _, p := range strings.Fields(out.String()) {
		if !slices.Contains(points, crash.Point(p)) {
			points = append(points, crash.Point(p))
		}
	}
	return points, err
}

// mounts tells what is where.
func mounts(t *testing.T, c childConfig) string {
	t.Helper()
	var lines []string
	for _, path := range []string{c.Staging, headIn(c.Staging), c.Target} {
		_, err := os.Lstat(path)
		at, mountErr := mountedAt(path)
		must(t, mountErr)
		line := fmt.Sprintf("%s exists=%t", path, err == nil)
		if at != nil {
			line += fmt.Sprintf(" %s %s %v", at.Source, at.Root, at.MountOptions)
		}
		lines = append(lines, line)
	}
	files, err := filepath.Glob(c.RunDir + "/csi/*")
	must(t, err)
	for _, f := range files {
		content, err := os.ReadFile(f)
		must(t, err)
		lines = append(lines, filepath.Base(f)+" "+string(content))
	}
	return strings.Join(lines, "\n")
}
