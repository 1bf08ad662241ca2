package etcd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/store/members"
)

const (
	// Name is that of the StatefulSet, its headless Service, its ConfigMap and its
	// PodDisruptionBudget.
	Name          = "dotmesh-etcd-cluster"
	clientService = Name + "-client"
	component     = "etcd"

	// LocalClass has no provisioner and no StorageClass: volumes of it are made
	// here.
	LocalClass = "dotmesh-etcd"

	clientPort = 2379
	peerPort   = 2380
)

// Endpoints are what servers reach the registry by.
func Endpoints(namespace string) []string {
	return []string{fmt.Sprintf("https://%s.%s.svc:%d", clientService, namespace, clientPort)}
}

func podName(ordinal int) string { return Name + "-" + strconv.Itoa(ordinal) }

func claimName(ordinal int) string { return dataVolume + "-" + podName(ordinal) }

func peerURL(namespace string, ordinal int) string {
	return fmt.Sprintf("https://%s.%s.%s.svc:%d", podName(ordinal), Name, namespace, peerPort)
}

// ordinalOf tells which pod a member is; false for one that is not of the
// StatefulSet.
func ordinalOf(m members.Member) (int, bool) {
	host, _, _ := strings.Cut(strings.TrimPrefix(m.PeerURL, "https://"), ".")
	number, ok := strings.CutPrefix(host, Name+"-")
	ordinal, valid := parseOrdinal(number)
	return ordinal, ok && valid
}

// mostOrdinals is more than members ever take: an ordinal is that of a member, or the
// lowest that is free. Others are somebody's mistake, and a pod for each up to them, and
// its claim, would be made by it.
const mostOrdinals = 16

func parseOrdinal(s string) (int, bool) {
	ordinal, err := strconv.Atoi(s)
	return ordinal, err == nil && ordinal >= 0 && ordinal < mostOrdinals
}

// initialCluster is what a member that joins must be told: all members, and
// itself.
func initialCluster(all []members.Member) string {
	var parts []string
	for _, m := range all {
		name := m.Name
		if ordinal, ok := ordinalOf(m); ok {
			name = podName(ordinal)
		}
		parts = append(parts, name+"="+m.PeerURL)
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// ordinalsOf reads which pods an initialCluster names.
func ordinalsOf(cluster string) []int {
	var all []int
	for part := range strings.SplitSeq(cluster, ",") {
		_, url, _ := strings.Cut(part, "=")
		if ordinal, ours := ordinalOf(members.Member{PeerURL: url}); ours {
			all = append(all, ordinal)
		}
	}
	return all
}
