//go:build apiserver

package operator_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/pools"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/test/apiserver"
)

const (
	namespace = "dotmesh"
	image     = "dotmesh:test"
	account   = "system:serviceaccount:dotmesh:dotmesh-operator"
)

// TestOperator runs two operators as the service account of the manifests, with what
// that may do, one after another: a server for a node, a change of the configuration,
// a bad one, and the second that takes over from the first.
func TestOperator(t *testing.T) {
	ctrl.SetLogger(klog.Background())
	s := install(t)
	health, metrics := freeAddress(t), freeAddress(t)
	first := s.run(operator.Config{HealthAddress: health, MetricsAddress: metrics, Version: "v1.2.0", Image: image})
	s.addNode("a")
	s.waitsForConfigMap(health, metrics)
	s.apply("overlays/local/configmap.yaml")
	s.await("certificates, node service and etcd", func() bool {
		return s.has(&corev1.Secret{}, "dotmesh-operator-client") && s.has(&appsv1.DaemonSet{}, specs.NodeDaemonSetName) &&
			s.has(&appsv1.StatefulSet{}, "dotmesh-etcd-cluster")
	})
	if s.has(&corev1.Pod{}, "server-a") {
		t.Error("a server was made without the user's Secret")
	}
	s.must(s.client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "dotmesh"},
		StringData: map[string]string{"dotmesh-api-key.txt": "key", "dotmesh-admin-password.txt": "password"},
	}))
	s.start("server-a")
	s.await("labels that tell of the server", func() bool {
		labels := s.get(&corev1.Pod{}, "server-a").GetLabels()
		return labels[specs.LabelHealth] == "ONLINE" && labels[specs.LabelPool] == "guid" && labels[specs.LabelVersion] == "v1_2"
	})
	s.await("/readyz", func() bool { return fetch(t, health, "/readyz") == "ok" })
	s.await("metrics", func() bool {
		page := fetch(t, metrics, "/metrics")
		return !slices.ContainsFunc([]string{
			"dotmesh_operator_nodes 1", "dotmesh_operator_servers_ready 1", `dotmesh_operator_pools{health="ONLINE"} 1`,
			`dotmesh_operator_rollout{state="done"} 1`, "dotmesh_operator_configuration_refused 0", "dotmesh_operator_configuration_missing 0",
			"dotmesh_operator_etcd_members 1", "dotmesh_operator_etcd_members_healthy 0",
		}, func(line string) bool { return !strings.Contains(page, line+"\n") })
	})

	s.set("kubeletDir", "/data/kubelet")
	s.await("the node service with the new directory", func() bool {
		set := s.get(&appsv1.DaemonSet{}, specs.NodeDaemonSetName).(*appsv1.DaemonSet)
		return slices.Contains(set.Spec.Template.Spec.Containers[0].Args, "--registration-dir=/data/kubelet/plugins_registry")
	})

	s.set("upgradesUrl", offers(t, "v1.3.0"))
	s.await("a newer version, which servers and a person read", func() bool {
		kept := s.get(&corev1.ConfigMap{}, specs.SettingsName).(*corev1.ConfigMap)
		return kept.Data["newerVersion"] == "1.3.0" && strings.Contains(fetch(t, metrics, "/metrics"), "dotmesh_operator_newer_version{version=\"1.3.0\"} 1\n")
	})

	s.set("local.poolSizePerNode", "1G")
	s.await("kubectl describe to tell of the refusal", func() bool {
		out, err := s.Kubectl(t.Context(), "-n", namespace, "describe", "configmap", "configuration")
		s.must(err)
		return strings.Contains(out, "dotmesh.io/status:") && strings.Contains(out, "refused, since") && strings.Contains(out, "ConfigurationRefused") && strings.Contains(out, "cannot shrink from")
	})
	s.await("the metric", func() bool {
		return strings.Contains(fetch(t, metrics, "/metrics"), "dotmesh_operator_configuration_refused 1\n")
	})

	second := s.run(operator.Config{Registry: prometheus.NewRegistry(), Image: "dotmesh:next"})
	first()
	s.nodeServiceFollows()
	s.addNode("b")
	s.start("server-b")
	second()
	if denied := s.denied(); len(denied) > 0 {
		t.Errorf("the role lacks %v", denied)
	}
}

// nodeServiceFollows: another image is the node service's once the servers run it.
func (s *site) nodeServiceFollows() {
	s.Helper()
	nodeService := func() string {
		return s.get(&appsv1.DaemonSet{}, specs.NodeDaemonSetName).(*appsv1.DaemonSet).Spec.Template.Spec.Containers[0].Image
	}
	s.await("the end of the server with the old image", func() bool { return s.get(&corev1.Pod{}, "server-a").GetDeletionTimestamp() != nil })
	s.must(s.client.Delete(s.Context(), s.get(&corev1.Pod{}, "server-a"), client.GracePeriodSeconds(0)))
	s.await("a server with the new one", func() bool { return s.has(&corev1.Pod{}, "server-a") })
	if got := nodeService(); got != image {
		s.Errorf("before it is ready the node service has the image %s", got)
	}
	s.start("server-a")
	s.await("a node service with the new image", func() bool { return nodeService() == "dotmesh:next" })
}

// offers is the URL of who knows a version.
func offers(t *testing.T, version string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"version": %q}`, version)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// waitsForConfigMap: before there is one, with the Secret or without, nothing is made that
// would not suit it.
func (s *site) waitsForConfigMap(health, metrics string) {
	s.Helper()
	s.await("an Event that says what to create", func() bool {
		out, err := s.Kubectl(s.Context(), "-n", namespace, "get", "events")
		s.must(err)
		return strings.Contains(out, "ConfigurationMissing") && strings.Contains(out, "create configmap configuration")
	})
	s.await("the metric of it", func() bool {
		return strings.Contains(fetch(s.T, metrics, "/metrics"), "dotmesh_operator_configuration_missing 1\n")
	})
	s.await("/readyz all the same", func() bool { return fetch(s.T, health, "/readyz") == "ok" })
	for name, kind := range map[string]client.Object{specs.SettingsName: &corev1.ConfigMap{}, specs.NodeDaemonSetName: &appsv1.DaemonSet{}, "dotmesh-etcd-cluster": &appsv1.StatefulSet{}} {
		if s.has(kind, name) {
			s.Errorf("%s was made", name)
		}
	}
}

// site is an API server with the operator's manifests.
type site struct {
	*testing.T
	*apiserver.Server
	client client.Client
	nodes  sync.Map // by the address of the server there
}

func install(t *testing.T) *site {
	t.Helper()
	s := &site{T: t, Server: apiserver.Start(t)}
	var err error
	s.client, err = client.New(s.Config, client.Options{})
	s.must(err)
	for _, file := range []string{"base/namespace.yaml", "operator/operator.yaml"} {
		s.apply(file)
	}
	s.must(s.client.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: specs.ServiceAccount}}))
	return s
}

func (s *site) apply(file string) {
	s.Helper()
	if out, err := s.Kubectl(s.Context(), "apply", "-n", namespace, "-f", "../../deploy/"+file); err != nil {
		s.Fatalf("%s: %v: %s", file, err, out)
	}
}

// run runs an operator; what it returns ends it, and waits.
func (s *site) run(cfg operator.Config) (end func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(klog.NewContext(s.Context(), klog.Background()))
	cfg.Kubernetes = s.As(account, "system:serviceaccounts", "system:serviceaccounts:"+namespace, "system:authenticated")
	cfg.Namespace, cfg.EtcdImage, cfg.Servers = namespace, "etcd:test", s
	ended := make(chan error, 1)
	go func() { ended <- operator.Run(ctx, cfg) }()
	end = func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("the operator ended: %v", err)
		}
		ended <- nil
	}
	s.Cleanup(end)
	return end
}

// Status is that of a fake server that says that it is one.
func (s *site) Status(_ context.Context, address string) (pools.Status, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return pools.Status{}, err
	}
	node, _ := s.nodes.Load(host)
	status := pools.Status{Conditions: []pools.Condition{{Type: "Pool", OK: true}}}
	status.Pool, status.Health, status.Version, status.InUse = "guid", "ONLINE", "v1+2", true
	status.Node, _ = node.(string)
	return status, nil
}

// Release is never asked for: the fake's pools are in use.
func (s *site) Release(context.Context, string, uint64) (pools.Released, error) {
	return pools.Released{}, fmt.Errorf("fake server: it is in use")
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) addNode(name string) {
	s.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.must(s.client.Create(s.Context(), n))
	made := client.MergeFrom(n.DeepCopy()) // patches: the operators write to the same objects
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	s.must(s.client.Status().Patch(s.Context(), n, made))
}

// start waits for a pod and plays its kubelet.
func (s *site) start(name string) {
	s.Helper()
	s.await("pod "+name, func() bool { return s.has(&corev1.Pod{}, name) })
	pod := s.get(&corev1.Pod{}, name).(*corev1.Pod)
	node := pod.Annotations[specs.AnnotationNodeName]
	s.must(s.client.SubResource("binding").Create(s.Context(), pod, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: node}}))
	pod = s.get(&corev1.Pod{}, name).(*corev1.Pod)
	bound := client.MergeFrom(pod.DeepCopy())
	address := fmt.Sprintf("10.1.1.%d", len(name)+int(node[0]))
	s.nodes.Store(address, node)
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, address, []corev1.PodIP{{IP: address}}
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
	s.must(s.client.Status().Patch(s.Context(), pod, bound))
}

func (s *site) set(key, value string) {
	s.Helper()
	cm := s.get(&corev1.ConfigMap{}, "configuration").(*corev1.ConfigMap)
	read := client.MergeFrom(cm.DeepCopy())
	cm.Data[key] = value
	s.must(s.client.Patch(s.Context(), cm, read))
}

func (s *site) get(o client.Object, name string) client.Object {
	s.Helper()
	s.must(s.client.Get(s.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o))
	return o
}

func (s *site) has(o client.Object, name string) bool {
	s.Helper()
	err := s.client.Get(s.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o)
	s.must(client.IgnoreNotFound(err))
	return err == nil
}

func (s *site) await(what string, done func() bool) {
	s.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("after a minute there is not %s", what)
		}
	}
}

// denied are the operator's requests that its role does not allow.
func (s *site) denied() []apiserver.Request {
	s.Helper()
	return slices.DeleteFunc(s.Requests(s), func(r apiserver.Request) bool { return r.User != account || r.Code != http.StatusForbidden })
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// fetch is "" while nobody answers.
func fetch(t *testing.T, address, path string) string {
	t.Helper()
	res, err := http.Get("http://" + address + path)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
