// Package e2e shows on a real cluster what dotmesh promises: real kubelet, real
// CSI sidecars, real ZFS, our own manifests and images. Its tests have the build
// tag e2e, need root and the lab's programs (package lab). The scenes of a test share one
// boot:
//
//	TestScenes      the static deployment on one node (test/run e2e)
//	TestPowerCut    the same: its power cut alone, with E2E_VOLATILE (test/run powercut)
//	TestNodes       the operator on three nodes, in local and then in pvcPerNode (test/run nodes)
//	TestLocalPools  what takes longer in local, on three nodes (test/run nodeslong)
//	TestCloudNodes  what takes longer in pvcPerNode, on three nodes and more (test/run nodeslong)
//
//	go test -tags e2e -count=1 -timeout 43m -v -run TestScenes/6PowerCut ./test/e2e
//
// A file named as a scene (scene5_outages, scene_drain) has scenes of one subject, and what
// only they use; what others use too is in the file of its own subject. Scene 8, the crash
// points, needs no kubelet and is in pkg/server and pkg/csi/node. A scene has Kubernetes
// namespaces of its own and removes what it made; the last check is that nothing of any is
// left. On failure the state of the cluster is written below E2E_LOGS.
//
// Variables:
//
//	E2E_LOGS     directory for logs of failures; default bin/e2e in the repository
//	E2E_VOLATILE not empty: disks that lose at a power cut what was not flushed
//	E2E_CLUSTER  use the lab's cluster of this name: started, and installed on, if
//	             it is not there, and left running. For working on a scene; images
//	             built anew are loaded and our pods started again.
package e2e
