package manifests

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const root = "../.."

// decoder knows the kinds that we write, and no field that they do not have.
func decoder(t *testing.T) runtime.Decoder {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, rbacv1.AddToScheme, storagev1.AddToScheme, snapshotv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}

// parse decodes the documents of one file.
func parse(t *testing.T, path string) []runtime.Object {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var objects []runtime.Object
	d, docs := decoder(t), yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if !hasContent(doc) {
			continue
		}
		o, _, err := d.Decode(doc, nil, nil)
		if err != nil {
			t.Errorf("%s: %v\n%s", path, err, firstLines(doc))
			continue
		}
		objects = append(objects, o)
	}
}

// hasContent tells a document from one of comments alone.
func hasContent(doc []byte) bool {
	for line := range strings.Lines(string(doc)) {
		if line = strings.TrimSpace(line); line != "" && line != "---" && !strings.HasPrefix(line, "#") {
			return true
		}
	}
	return false
}

func firstLines(doc []byte) []byte { return doc[:min(len(doc), 300)] }

func glob(t *testing.T, patterns ...string) []string {
	t.Helper()
	var all []string
	for _, p := range patterns {
		found, err := filepath.Glob(filepath.Join(root, p))
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			t.Errorf("no file is %s", p)
		}
		for _, f := range found {
			if filepath.Base(f) != "kustomization.yaml" {
				all = append(all, f)
			}
		}
	}
	return all
}

func TestEveryFileParses(t *testing.T) {
	for _, f := range glob(t, "deploy/base/*.yaml", "deploy/static/*.yaml", "deploy/rendered/*.yaml", "deploy/examples/*.yaml", "sidecars/*.yaml") {
		if len(parse(t, f)) == 0 {
			t.Errorf("%s holds no object", f)
		}
	}
}

func TestUnknownFieldsAreRefused(t *testing.T) {
	doc := []byte("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: x\nautomountToken: false\n")
	if _, _, err := decoder(t).Decode(doc, nil, nil); err == nil {
		t.Error("a field that ServiceAccount does not have was accepted")
	}
}
