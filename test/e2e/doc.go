// Package e2e shows on a real cluster what dotmesh promises: real kubelet, real
// CSI sidecars, real ZFS, our own manifests and images. Its tests have the build
// tag e2e, need root and the lab's programs (package lab). TestScenes is of the static
// deployment on one node, and its scenes share one boot; TestNodes is of the operator's,
// on three nodes (test/run nodes):
//
//	test/run e2e
//	go test -tags e2e -count=1 -timeout 43m -v -run TestScenes/6PowerCut ./test/e2e
//
// A file holds one scene or a part of one; scene 8, the crash points, needs no
// kubelet and is in pkg/server and pkg/csi/node. A scene has Kubernetes namespaces of its own and
// removes what it made; the last check is that nothing of any is left. On
// failure the state of the cluster is written below E2E_LOGS.
//
// Variables:
//
//	E2E_LOGS     directory for logs of failures; default bin/e2e in the repository
//	E2E_VOLATILE not empty: disks that lose at a power cut what was not flushed
//	E2E_CLUSTER  use the lab's cluster of this name: started, and installed on, if
//	             it is not there, and left running. For working on a scene; images
//	             built anew are loaded and our pods started again.
package e2e
