package specs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// maxName is the most that a label's value, and a pod's host name, may have.
	maxName = 63
	// hashDigits of a SHA-256 stand at the end of a name that was shortened.
	hashDigits = 10
	// between stands between PVC and node in a name.
	between = "-node-"
)

// LocalServerName is the name of a node's server pod in the storage mode local.
func LocalServerName(node string) string { return shorten(ComponentServer + "-" + node) }

// ServerName is the name of the server pod of a PVC that is assigned to a node.
func ServerName(pvc, node string) string { return podName(ComponentServer, pvc, node) }

// HolderName is the name of the holder pod, and of its PodDisruptionBudget.
func HolderName(pvc, node string) string { return podName(ComponentHolder, pvc, node) }

// ourPVC is a name that PVCName gave.
var ourPVC = regexp.MustCompile(`^pvc-[0-9a-f]{16}$`)

// podName is a hash alone for a PVC that was made by hand, if another PVC and node
// would make the same words.
func podName(component, pvc, node string) string {
	name := component + "-" + pvc + between + node
	if !ourPVC.MatchString(pvc) && strings.Index(name, between) != strings.LastIndex(name, between) {
		return component + "-" + digest(pvc+"/"+node, 16)
	}
	return shorten(name)
}

// LabelValue is a name as the value of a label.
func LabelValue(name string) string { return shorten(name) }

// looksShortened is what no name that was not shortened may look like.
var looksShortened = regexp.MustCompile(`-[0-9a-f]{10}$`)

// shorten keeps what fits and hashes the rest, and also what fits only just and
// looks like something shortened: so no two names become one.
func shorten(name string) string {
	if len(name) < maxName || (len(name) == maxName && !looksShortened.MatchString(name)) {
		return name
	}
	begin := name[:maxName-hashDigits-1]
	if strings.HasSuffix(begin, ".") { // nothing may begin with "-" after a "."
		begin = begin[:len(begin)-1] + "-"
	}
	return begin + "-" + digest(name, hashDigits)
}

func digest(of string, digits int) string {
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:])[:digits]
}

// PVCName is the name of the attempt-th PVC that is made for a node. It is the
// same whoever makes it, so that two operators make one PVC.
func PVCName(node string, nodeUID types.UID, attempt int) string {
	return "pvc-" + digest(fmt.Sprintf("%s/%s/%d", node, nodeUID, attempt), 16)
}

// PoolName is what the pool on a PVC is called: two pools may be imported on one
// node.
func PoolName(prefix string, pvc types.UID) string {
	id := strings.ReplaceAll(string(pvc), "-", "")
	return prefix + "-" + id[:min(8, len(id))]
}
