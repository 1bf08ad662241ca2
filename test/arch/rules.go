package arch

// Layer says what of ours a directory's product code may import: itself and
// what is listed, with everything below each.
type Layer struct {
	Dir    string
	May    []string
	Reason string
}

// Layers go from the bottom to the top; the first whose Dir holds a package
// decides, so that a special case stands before the general one. Everything in
// pkg and cmd must be in one. A directory may have its place without having a package.
var Layers = []Layer{
	{"pkg/dot", nil,
		"the domain is pure: whoever reads it need know nothing else"},
	{"pkg/zfs", []string{"pkg/dot/crash"},
		"zfs spells commands and knows no dots"},
	{"pkg/hostclock", nil,
		"lease, server and node service read one clock, and nothing else binds them"},
	{"pkg/atomicfile", nil,
		"a file is replaced whole in one way, whoever writes it"},
	{"pkg/keylock", nil,
		"locks know neither what they guard nor what its users call it"},
	{"pkg/mounted", nil,
		"what kubelet changes under its readers is read in one way"},
	{"pkg/syslog", []string{"pkg/dot", "pkg/mounted"},
		"what is logged goes to a log server in one way, whoever logs"},
	{"pkg/pki", []string{"pkg/atomicfile"},
		"certificates are made and read without anything of the domain"},
	{"pkg/store", []string{"pkg/dot", "pkg/pki", "pkg/hostclock"},
		"the registry keeps the domain's records and reaches no pool"},
	{"pkg/api", []string{"pkg/dot"},
		"the wire speaks the domain"},
	{"pkg/replication/plan", []string{"pkg/dot"},
		"plans are pure: snapshot lists in, steps or a conflict out"},
	{"pkg/replication/mastership", []string{"pkg/dot"},
		"who may write is decided by a pure state machine"},
	{"pkg/replication", []string{"pkg/dot"},
		"attempts and retries know neither ZFS nor the network; they declare what they need"},
	{"pkg/engine", []string{"pkg/dot", "pkg/zfs", "pkg/replication", "pkg/keylock"},
		"the engine owns one pool and knows no registry and no network"},
	{"pkg/client", []string{"pkg/dot", "pkg/api", "pkg/pki", "pkg/replication"},
		"a client needs the API and nothing behind it"},
	{"pkg/server", []string{"pkg/dot", "pkg/zfs", "pkg/pki", "pkg/store", "pkg/api", "pkg/replication", "pkg/engine", "pkg/client", "pkg/hostclock", "pkg/atomicfile", "pkg/keylock", "pkg/mounted"},
		"only the server is handed the store and the engine, and it stands below csi, operator and cli"},
	{"pkg/csi/node", []string{"pkg/csi", "pkg/dot", "pkg/api", "pkg/client", "pkg/pki", "pkg/zfs", "pkg/hostclock", "pkg/atomicfile"},
		"the node service reaches dots through the server's socket; of zfs it may use the fence"},
	{"pkg/csi", []string{"pkg/dot", "pkg/api", "pkg/client", "pkg/pki", "pkg/keylock"},
		"csi reaches dots through client alone"},
	{"pkg/operator/config", []string{"pkg/dot", "pkg/zfs/names", "pkg/syslog"},
		"the configuration is read and compared without a cluster, and by whoever asks what a change would do"},
	{"pkg/operator/specs", []string{"pkg/operator/config"},
		"objects are built from the configuration alone, so that their tests are tables"},
	{"pkg/operator/plan", []string{"pkg/operator/config", "pkg/operator/specs"},
		"what the operator does next is a pure function of what it observed"},
	{"pkg/operator", []string{"pkg/dot", "pkg/api", "pkg/client", "pkg/pki", "pkg/store/members"},
		"the operator runs servers and never touches what they hold; of the store it needs etcd's membership"},
	{"pkg/cli", []string{"pkg/dot", "pkg/api", "pkg/client", "pkg/pki", "pkg/atomicfile"},
		"dm does nothing that the API cannot do"},
	{"cmd/dm", []string{"pkg/cli", "pkg/dot"},
		"main parses and runs; the commands are in cli"},
	{"cmd/dotmesh", []string{"pkg/dot", "pkg/zfs", "pkg/pki", "pkg/store", "pkg/api", "pkg/engine", "pkg/client", "pkg/server", "pkg/csi", "pkg/operator", "pkg/syslog"},
		"main wires the roles of the cluster; dm's commands are another program"},
}

// Room is where a third-party or standard package may be imported by product
// code.
type Room struct {
	Import string   // the package and everything below it
	Except []string // free again
	Dirs   []string
	Reason string
}

// Rooms hold for every one that matches an import. A directory that has no package has
// its room too.
var Rooms = []Room{
	{"os/exec", nil, []string{"pkg/zfs", "pkg/cli/kube", "pkg/cli/host"},
		"one place starts processes: with a context, LC_ALL=C, exit code and stderr kept"},
	{"go.etcd.io", nil, []string{"pkg/store"},
		"keys and transactions of the registry are spelled in one place"},
	{"github.com/mistifyio/go-zfs/v4", nil, []string{"pkg/zfs"},
		"one place spells zfs arguments"},
	{"github.com/container-storage-interface/spec", nil, []string{"pkg/csi"},
		"CSI's codes and shapes end at csi"},
	{"github.com/kubernetes-csi", nil, []string{"pkg/csi"},
		"CSI's codes and shapes end at csi"},
	{"k8s.io", []string{"k8s.io/klog/v2", "k8s.io/mount-utils"}, []string{"pkg/csi", "pkg/operator", "cmd/dotmesh"},
		"a server speaks no Kubernetes: it keeps conditions, the controller and the operator turn them into Events"},
	{"sigs.k8s.io/controller-runtime", nil, []string{"pkg/operator", "cmd/dotmesh"},
		"only the operator reconciles"},
	{"k8s.io/mount-utils", nil, []string{"pkg/csi/node", "pkg/engine"},
		"what mounts, unmounts: two places"},
	{"k8s.io/klog/v2", nil, []string{"pkg/zfs", "pkg/store", "pkg/replication", "pkg/engine", "pkg/pki", "pkg/api", "pkg/client", "pkg/server", "pkg/csi", "pkg/operator", "pkg/syslog", "cmd/dotmesh"},
		"dot is pure, and dm speaks to a person"},
	{"github.com/spf13", nil, []string{"pkg/cli", "cmd"},
		"a flag is parsed in cmd or cli; roles take a Config"},
}

// Foundation lists the eight packages that the project is built on (of one, two
// parts): each must be imported by product code, so that none is re-invented
// beside its dependency.
var Foundation = []struct{ Import, Reason string }{
	{"github.com/container-storage-interface/spec", "the driver implements the CSI specification's own Go types"},
	{"github.com/kubernetes-csi/csi-lib-utils/protosanitizer", "the logging interceptor strips secrets as every CSI driver does"},
	{"github.com/kubernetes-csi/csi-lib-utils/metrics", "csi_plugin_operations_seconds is the metric that dashboards know"},
	{"github.com/mistifyio/go-zfs/v4", "kinds of datasets, states of pools and what they report of their space have its names; its processes take no context and no locale, so that they are not used"},
	{"go.etcd.io/etcd/client/v3", "the registry is etcd"},
	{"google.golang.org/grpc", "CSI is gRPC"},
	{"k8s.io/client-go", "PVCs are read with the typed client"},
	{"k8s.io/klog/v2", "one logger, structured, with context"},
	{"k8s.io/mount-utils", "mounts are made and checked with what kubelet uses"},
}

// Links says what a program or package must not link, whichever way it came.
type Links struct {
	Package string // for go list
	Not     []string
	Reason  string
}

// LinkRules look at everything that is linked, other people's imports too.
var LinkRules = []Links{
	{"./cmd/dm", []string{"k8s.io", "go.etcd.io", "github.com/mistifyio", "google.golang.org/grpc", "MODULE/pkg/zfs", "MODULE/pkg/store", "MODULE/pkg/engine", "MODULE/pkg/server", "MODULE/pkg/csi"},
		"dm is small and static, and reaches dots through the API alone"},
	{"./pkg/server", []string{"k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go", "k8s.io/component-base"},
		"a server speaks no Kubernetes"},
	{"./pkg/csi/...", []string{"go.etcd.io", "MODULE/pkg/store", "MODULE/pkg/engine", "MODULE/pkg/server"},
		"csi reaches dots through client alone"},
	{"./pkg/operator/config", []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime"},
		"the configuration is pure: it reaches no cluster"},
	{"./pkg/operator/specs", []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime"},
		"objects are built, not applied"},
	{"./pkg/operator/plan", []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime"},
		"a plan reaches no cluster"},
	{"./pkg/dot", []string{"os/exec", "net/http", "k8s.io", "google.golang.org"},
		"the domain is pure"},
}

// FenceOnly are the names of pkg/zfs that pkg/csi/node may use.
var FenceOnly = []string{"Fence", "Client", "New", "Config", "Dataset", "ParseDataset"}

// Sizes beyond which a reader loses the thread.
const (
	MaxFunction = 100
	MaxFile     = 600
)

// BadNames are packages that say nothing of what they hold, and so come to hold
// everything.
var BadNames = []string{"util", "utils", "common", "types", "helper", "helpers", "misc", "shared"}
