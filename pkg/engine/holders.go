package engine

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/mount-utils"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// Holder is a process in whose mount namespace a dataset is mounted.
type Holder struct {
	PID     int
	Command string
	Pod     string // UID of the process's Kubernetes pod, "" for none
	Path    string // mount point
}

func (h Holder) String() string {
	if h.Pod != "" {
		return fmt.Sprintf("%s (process %d of pod %s) at %s", h.Command, h.PID, h.Pod, h.Path)
	}
	return fmt.Sprintf("%s (process %d) at %s", h.Command, h.PID, h.Path)
}

// PoolHolders finds who mounts anything of a pool.
func PoolHolders(pool zfs.PoolName) []Holder {
	return holdersOf(func(m mount.MountInfo) bool {
		name, _, _ := strings.Cut(m.Source, "/")
		return m.FsType == "zfs" && name == pool.String()
	})
}

// Holders finds who mounts anything of the root.
func (e *Engine) Holders() []Holder {
	root := e.root.String()
	return holdersOf(func(m mount.MountInfo) bool { return m.FsType == "zfs" && contains(root, m.Source) })
}

func holders(dataset zfs.Dataset) []Holder {
	return holdersOf(func(m mount.MountInfo) bool { return isOf(m, dataset) })
}

func holdersOf(is func(mount.MountInfo) bool) []Holder {
	var found []Holder
	eachNamespace(func(pid int, mounts []mount.MountInfo) {
		for _, m := range mounts {
			if is(m) {
				found = append(found, holder(pid, m))
				return
			}
		}
	})
	return found
}

// refuseMounted names who mounts a dataset: zfs-destroy(8) would otherwise
// unmount it where it can.
func refuseMounted(dataset zfs.Dataset) error {
	return refuseHolders(dataset.String(), holders(dataset))
}

func refuseHolders(what string, found []Holder) error {
	if len(found) == 0 {
		return nil
	}
	more := ""
	if len(found) > 1 {
		more = fmt.Sprintf(" and in %d other mount namespaces", len(found)-1)
	}
	return dot.Errorf(dot.CodeAborted, "%s is mounted by %s%s; it goes once nothing mounts it", what, found[0], more)
}

// refuseMountedBelow names who mounts a subdot itself, or has something else
// mounted on or below its directory: removing a mount point takes the mount away
// from whoever has it.
func refuseMountedBelow(dataset zfs.Dataset, subdot dot.Subdot) error {
	dir := "/" + subdot.String()
	var found []Holder
	eachNamespace(func(pid int, mounts []mount.MountInfo) {
		for _, m := range mountsBelow(mounts, dataset, dir) {
			found = append(found, holder(pid, m))
		}
	})
	return refuseHolders("subdot "+subdot.String(), found)
}

// mountsBelow are a namespace's mounts of dir or below in the dataset, and mounts
// of anything that lie on dir or below.
func mountsBelow(mounts []mount.MountInfo, dataset zfs.Dataset, dir string) []mount.MountInfo {
	var below []mount.MountInfo
	var places []string // where dir can be seen
	for _, m := range mounts {
		switch {
		case !isOf(m, dataset):
		case contains(dir, m.Root):
			below = append(below, m)
		case contains(m.Root, dir):
			rel := strings.TrimPrefix(dir, strings.TrimSuffix(m.Root, "/"))
			places = append(places, path.Join(m.MountPoint, rel))
		}
	}
	for _, m := range mounts {
		for _, place := range places {
			if contains(place, m.MountPoint) {
				below = append(below, m)
			}
		}
	}
	return below
}

// contains tells whether p is dir or lies below it.
func contains(dir, p string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

func isOf(m mount.MountInfo, dataset zfs.Dataset) bool {
	return m.FsType == "zfs" && m.Source == dataset.String()
}

// eachNamespace visits the mounts of every mount namespace once. Processes that
// end meanwhile are passed over.
func eachNamespace(visit func(pid int, mounts []mount.MountInfo)) {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	seen := map[string]bool{}
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join("/proc", p.Name())
		namespace, err := os.Readlink(filepath.Join(dir, "ns", "mnt"))
		if err != nil || seen[namespace] {
			continue
		}
		mounts, err := mount.ParseMountInfo(filepath.Join(dir, "mountinfo"))
		if err != nil {
			continue // the namespace may have another process
		}
		seen[namespace] = true
		visit(pid, mounts)
	}
}

func holder(pid int, m mount.MountInfo) Holder {
	return Holder{PID: pid, Command: commandOf(pid), Pod: podOf(pid), Path: m.MountPoint}
}

// podGrammar finds a pod's UID in the name of its cgroup, where systemd's driver
// writes _ for -.
var podGrammar = regexp.MustCompile(`pod([0-9a-f]{8}([-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})`)

func podOf(pid int) string {
	cgroup, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return "" // it has ended
	}
	return podIn(string(cgroup))
}

func podIn(cgroup string) string {
	found := podGrammar.FindStringSubmatch(cgroup)
	if found == nil {
		return ""
	}
	return strings.ReplaceAll(found[1], "_", "-")
}

func commandOf(pid int) string {
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return "a process"
	}
	return strings.TrimSpace(string(name))
}
