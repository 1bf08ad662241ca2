package settings

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// verdict is what came of the user's ConfigMap.
type verdict struct {
	inForce  *config.Config // nil where that cannot be told
	plan     config.Plan
	problems []config.Remark
	warnings []config.Remark
}

// follow reads both ConfigMaps and puts in force what follows from them. It tells
// whether another configuration is in force than before.
func (s *Settings) follow(ctx context.Context) (changed bool, err error) {
	leave, err := s.gate.write(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, callTimeout) // not before: a round may take longer
	defer cancel()
	user, err := s.read(ctx, Name)
	if err != nil {
		return false, err
	}
	kept, err := s.read(ctx, specs.SettingsName)
	if err != nil {
		return false, err
	}
	v, err := s.judge(ctx, user, kept)
	if err != nil {
		return false, err
	}
	if v.inForce != nil {
		v.warnings = append(v.warnings, v.inForce.Outdated()...)
		if v.inForce.Recover {
			v.warnings = append(v.warnings, recovering())
		}
		if kept, err = s.keep(ctx, kept, v.inForce.Data()); err != nil {
			return false, err
		}
		if err := s.letGo(ctx, kept); err != nil {
			return false, err
		}
		before, known := s.InForce()
		changed = !known || !maps.Equal(before.Data(), v.inForce.Data())
	}
	s.latest.Store(&state{inForce: v.inForce, refused: v.problems, missing: user == nil})
	s.tell(ctx, user, v)
	return changed, s.setStatus(ctx, user, v)
}

// recovering is told for as long as it is so.
func recovering() config.Remark {
	return config.Remark{Key: "recover", Message: `servers add pools that the registry does not know, and meanwhile make no new volumes and delete none that they do not know: set it back to "false" once all servers are ready`}
}

// read gives nil for a ConfigMap that does not exist.
func (s *Settings) read(ctx context.Context, name string) (*corev1.ConfigMap, error) {
	var cm corev1.ConfigMap
	err := s.cfg.Live.Get(ctx, client.ObjectKey{Namespace: s.cfg.Namespace, Name: name}, &cm)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap %s/%s: %w", s.cfg.Namespace, name, err)
	}
	return &cm, nil
}

// judge compares what the user wants with the last good configuration. Where the
// user's ConfigMap is gone, the last good one holds: `kubectl replace --force`
// deletes it for a moment, and that must not put servers on every node. Where it has
// never been there it is waited for: whoever creates it later may want another storage
// mode than the defaults', which pools would keep.
func (s *Settings) judge(ctx context.Context, user, kept *corev1.ConfigMap) (verdict, error) {
	last, err := s.last(kept)
	if err != nil {
		pools, failed := s.poolsExist(ctx)
		if pools || failed != nil {
			return verdict{problems: err.Problems}, failed
		}
	}
	if user == nil {
		return verdict{inForce: last}, nil
	}
	next, warnings, refused := parse(user, last)
	if refused == nil {
		refused = s.refuseOurs(ctx, next)
	}
	if refused != nil {
		return verdict{inForce: last, warnings: warnings}.refuse(refused)
	}
	if last == nil {
		return verdict{inForce: &next, warnings: warnings}, nil
	}
	pools, failed := s.pools(ctx, *last)
	if failed != nil {
		return verdict{}, failed
	}
	plan, refused := last.Change(next, pools)
	if refused != nil {
		return verdict{inForce: last, warnings: warnings}.refuse(refused)
	}
	return verdict{inForce: &next, plan: plan, warnings: warnings}, nil
}

func (v verdict) refuse(err error) (verdict, error) {
	var refusal *config.Refusal
	if !errors.As(err, &refusal) {
		return verdict{}, err
	}
	v.problems = refusal.Problems
	return v, nil
}

// parse reads the user's ConfigMap. Values that are no text, which kubectl puts into
// binaryData when it reads files, are bad ones: their keys would quietly mean defaults.
func parse(user *corev1.ConfigMap, last *config.Config) (config.Config, []config.Remark, error) {
	read := config.Parse
	if last != nil {
		read = config.ParseKept
	}
	next, warnings, err := read(user.Data)
	var refusal *config.Refusal
	if len(user.BinaryData) == 0 || err != nil && !errors.As(err, &refusal) {
		return next, warnings, err
	}
	if refusal == nil {
		refusal = &config.Refusal{}
	}
	for _, key := range slices.Sorted(maps.Keys(user.BinaryData)) {
		refusal.Problems = append(refusal.Problems, config.Remark{Key: key, Message: "is in binaryData, because its value is not UTF-8: write it as text, in data"})
	}
	return config.Config{}, warnings, refusal
}

// refuseOurs refuses a StorageClass whose volumes would be made of the pools that lie on
// them, whatever it is called. Another one, or none, may have its name later, so that
// this is asked each time.
func (s *Settings) refuseOurs(ctx context.Context, c config.Config) error {
	if c.StorageMode != config.PVCPerNodeMode {
		return nil
	}
	var classes storagev1.StorageClassList
	if err := s.cfg.Live.List(ctx, &classes); err != nil {
		return fmt.Errorf("look at the StorageClasses: %w", err)
	}
	name := c.PVCPerNode.StorageClass.String()
	if !slices.ContainsFunc(classes.Items, func(class storagev1.StorageClass) bool {
		return class.Name == name && class.Provisioner == specs.DriverName
	}) {
		return nil
	}
	return &config.Refusal{Problems: []config.Remark{{
		Key: "pvcPerNode.storageClass", Message: fmt.Sprintf("%q is of the provisioner %s, whose volumes are made of the pools that are asked for here: use another class", name, specs.DriverName),
	}}}
}

// last is the last good configuration, nil where there was none. Keys that we do
// not know are a newer operator's, or no part of the configuration. Where somebody
// damaged the ConfigMap, what is in force holds.
func (s *Settings) last(kept *corev1.ConfigMap) (*config.Config, *config.Refusal) {
	inForce := s.latest.Load().inForce
	if kept == nil {
		return inForce, nil
	}
	known := config.Config{}.Data()
	data := maps.Clone(kept.Data)
	maps.DeleteFunc(data, func(key, _ string) bool {
		_, ok := known[key]
		return !ok
	})
	last, _, err := config.ParseKept(data)
	if err == nil {
		return &last, nil
	}
	if inForce != nil {
		return inForce, nil
	}
	return nil, &config.Refusal{Problems: []config.Remark{{
		Key: "ConfigMap " + specs.SettingsName,
		Message: fmt.Sprintf("was changed by somebody and cannot be read (%v): what pools were made with is not known, and nothing is done. Mend it, or delete it to have the ConfigMap %s taken as it is",
			err, Name),
	}}}
}

// poolsExist tells whether a server may have made a pool.
func (s *Settings) poolsExist(ctx context.Context) (bool, error) {
	pools, err := s.pools(ctx, config.Config{})
	return pools.Exist, err
}

// pools are those that a server may have made. Until servers have told the size of
// pools in files, it is taken for the last good one.
func (s *Settings) pools(ctx context.Context, last config.Config) (config.Pools, error) {
	var nodes corev1.NodeList
	if err := s.cfg.Live.List(ctx, &nodes, client.HasLabels{specs.LabelServer}, client.Limit(1)); err != nil {
		return config.Pools{}, fmt.Errorf("look for nodes with a pool: %w", err)
	}
	var claims corev1.PersistentVolumeClaimList
	if err := s.cfg.Live.List(ctx, &claims, client.InNamespace(s.cfg.Namespace), client.MatchingLabels{specs.LabelRole: specs.RolePool}); err != nil {
		return config.Pools{}, fmt.Errorf("look for PersistentVolumeClaims with a pool: %w", err)
	}
	pools := config.Pools{Exist: len(nodes.Items)+len(claims.Items) > 0, Local: last.Local.PoolSize.Bytes()}
	if largest, known := s.cfg.LargestPool(); known {
		pools.Local = largest
	}
	for _, claim := range claims.Items {
		pools.PVC = max(pools.PVC, claim.Status.Capacity.Storage().Value())
	}
	return pools, nil
}

// keep writes the last good configuration, if it is another than the one that was
// read, leaving keys that are not the configuration's. It fails where somebody
// changed it meanwhile.
func (s *Settings) keep(ctx context.Context, kept *corev1.ConfigMap, data map[string]string) (*corev1.ConfigMap, error) {
	if kept == nil {
		kept = &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: s.cfg.Namespace, Name: specs.SettingsName, Labels: map[string]string{specs.LabelAppName: specs.AppName},
				Finalizers: []string{Finalizer},
			},
			Data: data,
		}
		if err := s.cfg.Client.Create(ctx, kept); err != nil {
			return nil, fmt.Errorf("create ConfigMap %s: %w", specs.SettingsName, err)
		}
		return kept, nil
	}
	next := kept.DeepCopy()
	if next.Data == nil {
		next.Data = map[string]string{}
	}
	maps.Copy(next.Data, data)
	if next.DeletionTimestamp == nil {
		controllerutil.AddFinalizer(next, Finalizer)
	}
	if maps.Equal(next.Data, kept.Data) && len(next.Finalizers) == len(kept.Finalizers) {
		return kept, nil
	}
	if err := s.cfg.Client.Update(ctx, next); err != nil {
		return nil, fmt.Errorf("update ConfigMap %s: %w", specs.SettingsName, err)
	}
	return next, nil
}

// Finalizer keeps the ConfigMap that owns all servers and holders: Kubernetes deletes
// what an owner owned once that is gone, and asks no PodDisruptionBudget.
const Finalizer = "dotmesh.io/pools"

// letGo lets a ConfigMap go that somebody deleted, if there is no pool any more.
func (s *Settings) letGo(ctx context.Context, kept *corev1.ConfigMap) error {
	if kept.DeletionTimestamp == nil {
		return nil
	}
	pools, err := s.poolsExist(ctx)
	if err != nil {
		return err
	}
	if pools {
		s.cfg.Events.Warning(specs.ConfigMapReference(kept), reasonKept, "was deleted, and stays while there are pools, because all servers would go with it")
		return nil
	}
	free := kept.DeepCopy()
	controllerutil.RemoveFinalizer(free, Finalizer)
	if err := s.cfg.Client.Update(ctx, free); err != nil {
		return fmt.Errorf("let ConfigMap %s go: %w", specs.SettingsName, err)
	}
	return nil
}
