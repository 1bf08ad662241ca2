package controller

import (
	"maps"
	"slices"
	"strings"

	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// annotationPrefix may stand before each of our annotations. What stands behind
// it is ours alone, so an unknown name there is a mistake.
const annotationPrefix = driver.DriverName + "/"

// annotationMessage on a VolumeSnapshot is the message of the commit.
const annotationMessage = annotationPrefix + "message"

// parseAnnotations reads what a PVC's annotations choose. The plain and the
// prefixed form of a name mean the same; both may stand there if they agree.
func parseAnnotations(annotations map[string]string) (choice, error) {
	var c choice
	for _, full := range slices.Sorted(maps.Keys(annotations)) {
		value := annotations[full]
		key, prefixed := strings.CutPrefix(full, annotationPrefix)
		known, err := c.set(key, value)
		switch {
		case err != nil:
			return choice{}, in("annotation", full, err)
		case !known && prefixed:
			return choice{}, dot.Invalid("annotation %q is not known on a PersistentVolumeClaim: use %s, each with or without %q before it",
				full, quoted([]string{keyNamespace, keyName, keySubdot, keyBranch}), annotationPrefix)
		case known && prefixed:
			if plain, both := annotations[key]; both && plain != value {
				return choice{}, dot.Invalid("annotations %q and %q mean the same and say different things (%q and %q): remove one", key, full, plain, value)
			}
		}
	}
	return c, nil
}
