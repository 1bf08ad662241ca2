package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

// ReadManifests gives the roles and their bindings among YAML documents.
func ReadManifests(text io.Reader) ([]runtime.Object, error) {
	var all []runtime.Object
	for docs := yaml.NewYAMLReader(bufio.NewReader(text)); ; {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		var kind struct{ Kind string }
		if err := sigsyaml.Unmarshal(doc, &kind); err != nil {
			return nil, err
		}
		var o runtime.Object
		switch kind.Kind {
		case "Role":
			o = &rbacv1.Role{}
		case "ClusterRole":
			o = &rbacv1.ClusterRole{}
		case "RoleBinding":
			o = &rbacv1.RoleBinding{}
		case "ClusterRoleBinding":
			o = &rbacv1.ClusterRoleBinding{}
		default:
			continue
		}
		if err := sigsyaml.UnmarshalStrict(doc, o); err != nil {
			return nil, fmt.Errorf("%s: %w", kind.Kind, err)
		}
		all = append(all, o)
	}
}
