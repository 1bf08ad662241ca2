package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/etcd"
)

// fakeAPI knows one pod, dotmesh/me.
type fakeAPI struct {
	pod corev1.Pod
	// away is how many requests it does not answer yet.
	away int
}

// RoundTrip answers in the client's own process.
func (k *fakeAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	if k.away > 0 {
		k.away--
		return nil, errors.New("no route to host")
	}
	var answer any
	code := http.StatusOK
	switch r.URL.Path {
	case "/api":
		answer = metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}
	case "/apis":
		answer = metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	case "/api/v1":
		answer = metav1.APIResourceList{
			TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: "v1",
			APIResources: []metav1.APIResource{{Name: "pods", SingularName: "pod", Kind: "Pod", Namespaced: true}},
		}
	case "/api/v1/namespaces/dotmesh/pods/me":
		answer = k.pod
	default:
		code = http.StatusNotFound
		answer = metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound}
	}
	body, err := json.Marshal(answer)
	return &http.Response{
		StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), Request: r,
	}, err
}

// config is an operator's in that pod.
func (k *fakeAPI) config() Config {
	return Config{Kubernetes: &rest.Config{Host: "https://kubernetes", Transport: k}, Namespace: "dotmesh", PodName: "me"}
}

// deployed are the operator's pods by the rendered files.
func deployed(t *testing.T) map[string]corev1.Pod {
	t.Helper()
	files, err := filepath.Glob("../../deploy/rendered/dotmesh-*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	pods := map[string]corev1.Pod{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range strings.Split(string(text), "\n---\n") {
			var d appsv1.Deployment
			if err := yaml.Unmarshal([]byte(doc), &d); err == nil && d.Kind == "Deployment" && d.Name == name {
				pods[filepath.Base(file)] = corev1.Pod{
					TypeMeta:   metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
					ObjectMeta: metav1.ObjectMeta{Namespace: "dotmesh", Name: "me"}, Spec: d.Spec.Template.Spec,
				}
			}
		}
	}
	return pods
}

// Everything runs the image of the operator's own pod, as each rendered file has it, which
// may be there before its network is.
func TestImageIsThatOfTheOwnPod(t *testing.T) {
	pods := deployed(t)
	if len(pods) != 4 {
		t.Errorf("%d rendered files have an operator", len(pods))
	}
	for file, pod := range pods {
		pod.Spec.Containers = append([]corev1.Container{{Name: "sidecar", Image: "other"}}, pod.Spec.Containers...)
		pod.Spec.Containers[1].ImagePullPolicy = corev1.PullAlways
		synctest.Test(t, func(t *testing.T) {
			k := &fakeAPI{pod: pod, away: 3}
			got, err := clusterOf(t.Context(), k.config())
			if err != nil || got.Image != pod.Spec.Containers[1].Image || got.ImagePullPolicy != corev1.PullAlways || got.Namespace != "dotmesh" {
				t.Errorf("%s: got %+v, %v", file, got, err)
			}
			if !slices.Equal(got.Etcd, etcd.Endpoints("dotmesh")) {
				t.Errorf("%s: servers reach etcd by %v", file, got.Etcd)
			}
		})
	}
}

func TestImageThatIsGivenOrCannotBeKnown(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*fakeAPI, *Config)
		image  string
		says   string
	}{
		"given":             {func(k *fakeAPI, cfg *Config) { k.away, cfg.Image = 1000, "given:1" }, "given:1", ""},
		"no pod":            {func(_ *fakeAPI, cfg *Config) { cfg.PodName = "" }, "", "--image"},
		"no such pod":       {func(_ *fakeAPI, cfg *Config) { cfg.PodName = "other" }, "", "read the operator's own pod"},
		"no such container": {func(k *fakeAPI, _ *Config) { k.pod.Spec.Containers[0].Name = "other" }, "", `no container "operator"`},
		"nobody answers":    {func(k *fakeAPI, _ *Config) { k.away = 1000 }, "", "no route to host"},
	} {
		synctest.Test(t, func(t *testing.T) {
			k := &fakeAPI{pod: deployed(t)["dotmesh-default.yaml"]}
			cfg := k.config()
			c.change(k, &cfg)
			got, err := clusterOf(t.Context(), cfg)
			if got.Image != c.image || (c.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: got %q, %v, want %q, %q", what, got.Image, err, c.image, c.says)
			}
		})
	}
}
