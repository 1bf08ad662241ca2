package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// codec turns the values of one kind into JSON and back. keyOf gives the key at
// which a value belongs (nil where the value does not tell), check refuses what
// its type can hold but never should, unknown is where the value keeps what a
// newer version added (nil where it is written whole each time).
type codec[T any] struct {
	keyOf   func(T) Key
	check   func(T) error
	unknown func(*T) *dot.Unknown
}

var (
	clusterCodec = codec[Cluster]{func(Cluster) Key { return ClusterKey() }, func(c Cluster) error {
		if err := uuid.Validate(c.ID); err != nil || c.Incarnation == 0 {
			return fmt.Errorf("cluster %q, incarnation %d", c.ID, c.Incarnation)
		}
		return nil
	}, func(c *Cluster) *dot.Unknown { return &c.Unknown }}
	recoveryCodec = codec[Recovery]{func(Recovery) Key { return RecoveringKey() }, func(r Recovery) error {
		return present("cluster and pool", r.Cluster != "" && !r.Pool.IsZero())
	}, func(r *Recovery) *dot.Unknown { return &r.Unknown }}
	dotCodec = codec[dot.Dot]{func(d dot.Dot) Key { return DotKey(d.ID) }, func(d dot.Dot) error {
		return errors.Join(checkState(d.State), present("full name", !d.FullName.Namespace.IsZero() && !d.FullName.Name.IsZero()))
	}, func(d *dot.Dot) *dot.Unknown { return &d.Unknown }}
	nameCodec   = codec[dot.ID]{check: func(id dot.ID) error { return present("dot id", !id.IsZero()) }}
	branchCodec = codec[dot.Branch]{func(b dot.Branch) Key { return BranchKey(b.Dot, b.Name) }, func(b dot.Branch) error {
		return errors.Join(checkState(b.State), present("branch id", !b.ID.IsZero()))
	}, func(b *dot.Branch) *dot.Unknown { return &b.Unknown }}
	branchRefCodec = codec[BranchRef]{keyOf: func(r BranchRef) Key { return BranchIDKey(r.Branch) }, check: func(r BranchRef) error {
		return present("dot and name", !r.Dot.IsZero() && !r.Name.IsZero())
	}}
	epochCodec  = codec[dot.Epoch]{}
	commitCodec = codec[dot.Commit]{func(c dot.Commit) Key { return CommitKey(c.Dot, c.ID) }, func(c dot.Commit) error {
		return present("branch id", !c.Branch.IsZero())
	}, func(c *dot.Commit) *dot.Unknown { return &c.Unknown }}
	volumeCodec = codec[dot.Volume]{func(v dot.Volume) Key { return VolumeKey(v.ID) }, func(v dot.Volume) error {
		return checkState(v.State)
	}, func(v *dot.Volume) *dot.Unknown { return &v.Unknown }}
	intentCodec = codec[Intent]{func(i Intent) Key { return IntentKey(i.Commit.CSIName) }, func(i Intent) error {
		return present("dot, branch and commit", !i.Commit.Dot.IsZero() && !i.Commit.Branch.IsZero() && !i.Commit.ID.IsZero())
	}, func(i *Intent) *dot.Unknown { return &i.Unknown }}
	snapshotCodec = codec[Snapshot]{func(s Snapshot) Key { return SnapshotKey(s.CSIName) }, func(s Snapshot) error {
		return present("dot and commit", !s.Dot.IsZero() && !s.Commit.IsZero())
	}, func(s *Snapshot) *dot.Unknown { return &s.Unknown }}
	poolCodec = codec[dot.Pool]{
		keyOf: func(p dot.Pool) Key { return PoolKey(p.ID) }, unknown: func(p *dot.Pool) *dot.Unknown { return &p.Unknown },
	}
	instanceCodec  = codec[Instance]{check: func(i Instance) error { return present("instance name and boot id", i.Name != "" && i.BootID != "") }}
	tombstoneCodec = codec[Tombstone]{
		keyOf: func(t Tombstone) Key { return DeletedKey(t.Branch) }, unknown: func(t *Tombstone) *dot.Unknown { return &t.Unknown },
	}
	replicaCodec = codec[Replica]{
		keyOf: func(r Replica) Key { return ReplicaKey(r.Branch, r.Pool) }, unknown: func(r *Replica) *dot.Unknown { return &r.Unknown },
	}
	assignmentCodec = codec[Assignment]{func(a Assignment) Key { return AssignmentKey(a.Pool, a.Branch) }, func(a Assignment) error {
		if a.Role != RoleMaster && a.Role != RoleReplica {
			return fmt.Errorf("role %q is not known", a.Role)
		}
		return nil
	}, func(a *Assignment) *dot.Unknown { return &a.Unknown }}
	claimCodec = codec[Claim]{func(c Claim) Key { return ClaimKey(c.ID) }, func(c Claim) error {
		return present("generation", c.Generation > 0)
	}, func(c *Claim) *dot.Unknown { return &c.Unknown }}
	userCodec = codec[User]{keyOf: func(u User) Key { return UserKey(u.Name) }, unknown: func(u *User) *dot.Unknown { return &u.Unknown }}
)

func checkState(s dot.State) error {
	switch s {
	case dot.Creating, dot.Ready, dot.Deleting:
		return nil
	}
	return fmt.Errorf("state %q is not known", s)
}

func present(what string, is bool) error {
	if is {
		return nil
	}
	return fmt.Errorf("no %s", what)
}

// verify refuses a value that does not belong at the key.
func (c codec[T]) verify(k Key, v T) error {
	if c.keyOf != nil && c.keyOf(v) != k {
		return fmt.Errorf("it belongs at %s", c.keyOf(v))
	}
	if c.check != nil {
		return c.check(v)
	}
	return nil
}

// encode makes the JSON of a value.
func (c codec[T]) encode(k Key, v T) (string, error) {
	if _, err := ParseKey(k.String()); err != nil {
		return "", err
	}
	if err := c.verify(k, v); err != nil {
		return "", dot.Errorf(dot.CodeInternal, "value for registry key %s: %w", k, err)
	}
	b, err := json.Marshal(v)
	if err == nil && c.unknown != nil {
		b, err = withUnknown(b, *c.unknown(&v))
	}
	if err != nil {
		return "", dot.Errorf(dot.CodeInternal, "value for registry key %s: %w", k, err)
	}
	return string(b), nil
}

// decode reads a value: nothing may follow it, and it is at the key where it
// belongs. What a newer version added to it is kept with it.
func (c codec[T]) decode(k Key, value []byte) (T, error) {
	var v, none T
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	err := d.Decode(&v)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("more than one JSON value")
		}
	} else {
		v, err = c.decodeNewer(value)
	}
	if err == nil {
		err = c.verify(k, v)
	}
	if err != nil {
		return none, dot.Errorf(dot.CodeInternal, "the registry's value at %s is damaged: %w; to rebuild the registry from the pool, empty etcd and start the server with --recover", k, err)
	}
	return v, nil
}

// decodeNewer is for the few values that hold more than this version knows, if
// they are not damaged: finding out what costs several times as much as reading.
func (c codec[T]) decodeNewer(value []byte) (T, error) {
	var v T
	err := json.Unmarshal(value, &v)
	if err != nil || c.unknown == nil {
		return v, err
	}
	*c.unknown(&v), err = unknownOf(value, v)
	return v, err
}
