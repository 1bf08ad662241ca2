package engine

import "testing"

func TestPodOfACgroup(t *testing.T) {
	const uid = "0d3c1f0e-1111-4222-8333-444455556666"
	for cgroup, want := range map[string]string{
		"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0d3c1f0e_1111_4222_8333_444455556666.slice/cri-containerd-ab.scope\n": uid,
		"0::/../../kubepods-besteffort-pod0d3c1f0e_1111_4222_8333_444455556666.slice/cri-containerd-cd.scope\n":                                  uid,
		"0::/kubepods/besteffort/pod" + uid + "/ab\n":   uid,
		"12:cpu:/\n1:memory:/kubepods/pod" + uid + "\n": uid,
		"0::/system.slice/sshd.service\n":               "",
		"0::/user.slice/podman-0d3c.scope\n":            "",
		"":                                              "",
	} {
		if got := podIn(cgroup); got != want {
			t.Errorf("%q: got %q, want %q", cgroup, got, want)
		}
	}
}
