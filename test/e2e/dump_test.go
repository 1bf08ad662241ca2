//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// dump writes what can be learned of a failure to files: objects and events of
// the scene's namespaces, our pods with their logs, the node's state.
func (w *world) dump(name string, namespaces []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	dir := filepath.Join(w.logs, strings.ReplaceAll(name, "/", "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: dump:", err)
		return
	}
	save := func(file string, out string, err error) {
		if err != nil {
			out += fmt.Sprintf("\n(%v)\n", err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(out), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: dump:", err)
		}
	}
	kubectl := func(file string, args ...string) {
		out, err := w.cluster.Kubectl(ctx, args...)
		save(file, string(out), err)
	}
	node := func(file, script string) {
		for _, n := range w.cluster.Nodes() {
			out, err := n.SSH(ctx, script)
			save(n.Name()+"-"+file, out, err)
		}
	}
	for _, ns := range namespaces {
		kubectl(ns+"-objects.yaml", "-n", ns, "get", "pod,pvc,volumesnapshot", "-o", "yaml")
		kubectl(ns+"-events.txt", "-n", ns, "events")
		kubectl(ns+"-describe.txt", "-n", ns, "describe", "pod,pvc,volumesnapshot")
	}
	kubectl("cluster.yaml", "get", "pv,volumeattachment,volumesnapshotcontent,csidriver,csinode,csistoragecapacity", "-A", "-o", "yaml")
	kubectl("system-pods.txt", "-n", system, "describe", "pod")
	kubectl("system-objects.txt", "-n", system, "get", "pod,pvc,pdb,configmap", "-o", "yaml")
	kubectl("nodes.txt", "describe", "node")
	kubectl("system-events.txt", "-n", system, "events")
	for _, part := range []string{"server", "node", "controller", "etcd", "operator"} {
		selector := "app.kubernetes.io/component=" + part
		kubectl(part+".log", "-n", system, "logs", "-l", selector, "--all-containers", "--prefix", "--tail=-1")
		kubectl(part+"-previous.log", "-n", system, "logs", "-l", selector, "--all-containers", "--prefix", "--tail=-1", "--previous")
	}
	node("zfs.txt", "zpool status -v; zfs list -t all -o name,used,refer,origin,mountpoint,readonly,creation; zfs get -s local -o name,property,value all 2>/dev/null | grep io.dotmesh; losetup -l; grep -E 'zfs|dotmesh' /proc/mounts")
	node("dmesg.txt", "dmesg | tail -n 300; free -m; df -h; ps -eo pid,ppid,stat,etime,args | head -200")
	node("kubelet.log", "tail -n 2000 /var/log/kubelet.log")
	_, out, errOut := w.dm(ctx, "list", "-o", "yaml")
	save("dots.yaml", out+errOut, nil)
	fmt.Fprintf(os.Stderr, "e2e: %s failed; what there was to see is in %s\n", name, dir)
}
