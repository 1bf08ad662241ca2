//go:build apiserver

package apiserver_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/dotmesh-io/dotmesh-csi/test/apiserver"
)

func TestServer(t *testing.T) {
	s := apiserver.Start(t)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "here"}}
	if _, err := s.Client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	nobody, err := kubernetes.NewForConfig(s.As("system:serviceaccount:here:nobody"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nobody.CoreV1().Secrets("here").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("somebody without a role may list Secrets: %v", err)
	}
	if out, err := s.Kubectl(t.Context(), "get", "namespace", "here", "-o", "name"); err != nil || out != "namespace/here\n" {
		t.Errorf("kubectl: %v: %s", err, out)
	}
}

// TestEndsWithTheProcess runs this test once more as the process that is killed.
func TestEndsWithTheProcess(t *testing.T) {
	const child = "APISERVER_TEST_CHILD"
	if os.Getenv(child) != "" {
		fmt.Println("address", strings.TrimPrefix(apiserver.Start(t).Config.Host, "https://"))
		select {}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEndsWithTheProcess$")
	cmd.Env = append(os.Environ(), child+"=1", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var address string
	if _, err := fmt.Fscanf(out, "address %s\n", &address); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("the API server outlives the process that started it")
		}
	}
}
