package zfs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	gozfs "github.com/mistifyio/go-zfs/v4"
)

// Kind is the kind of a listed item.
type Kind string

// Kinds as ZFS prints them.
const (
	KindFilesystem Kind = gozfs.DatasetFilesystem
	KindSnapshot   Kind = gozfs.DatasetSnapshot
	KindVolume     Kind = gozfs.DatasetVolume
	KindBookmark   Kind = "bookmark"
)

// Item is one listed dataset, snapshot or bookmark.
type Item struct {
	Kind Kind
	// Dataset is the filesystem, or what the snapshot or bookmark belongs to.
	Dataset Dataset
	// Name is the part after "@" or "#", "" for filesystems and volumes.
	Name      string
	GUID      GUID
	CreateTXG uint64
	// Values holds the properties asked for (see ListOptions), always with
	// type, guid and createtxg.
	Values Values
}

// Target is the item as the typed name that other calls take.
func (i Item) Target() Target {
	switch i.Kind {
	case KindSnapshot:
		return Snapshot{i.Dataset, i.Name}
	case KindBookmark:
		return Bookmark{i.Dataset, i.Name}
	}
	return i.Dataset
}

// ListOptions choose what List returns.
type ListOptions struct {
	// Kinds; default filesystems, snapshots and bookmarks.
	Kinds []Kind
	// Depth below root: 0 is the root itself; 1 adds its children, and its
	// snapshots and bookmarks if their kinds are asked for; All is everything.
	Depth int
	// Properties are read whatever their source, inherited values included ;
	// nil: every property whose source is local, received or none (read-only),
	// which includes all user properties that were set on the item itself. For
	// many items name what matters: of 440 items, eleven named properties took
	// 0.8 of the time of `zfs list -t all`, nil took 3.6 times it.
	Properties []Property
}

// All is the Depth without a bound.
const All = -1

// List reads root and what lies below it in one process, ordered by createtxg.
// Items whose names this package's types cannot hold (made by other software)
// are left out; there are none below a dataset that only this package fills.
func (c *Client) List(ctx context.Context, root Dataset, opt ListOptions) ([]Item, error) {
	if err := check(nil, root); err != nil {
		return nil, err
	}
	args, err := listArgs(root, opt)
	if err != nil {
		return nil, err
	}
	out, err := c.run(ctx, command{path: c.cfg.ZFS, args: append([]string{"zfs"}, args...), long: true})
	if err != nil {
		return nil, err
	}
	return parseItems(string(out))
}

func listArgs(root Dataset, opt ListOptions) ([]string, error) {
	kinds := opt.Kinds
	if len(kinds) == 0 {
		kinds = []Kind{KindFilesystem, KindSnapshot, KindBookmark}
	}
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	args := []string{"get", "-H", "-p", "-o", "name,property,value,source", "-t", strings.Join(names, ",")}
	switch {
	case opt.Depth < 0:
		args = append(args, "-r")
	case opt.Depth > 0:
		args = append(args, "-d", strconv.Itoa(opt.Depth))
	}
	if opt.Properties == nil {
		return append(args, "-s", "local,received,none", "all", root.String()), nil
	}
	list, err := propertyList(slices.Concat([]Property{PropType, PropGUID, PropCreateTXG}, opt.Properties))
	if err != nil {
		return nil, err
	}
	return append(args, list, root.String()), nil
}

// propertyList is the comma-separated argument of zfs-get(8), each name once.
func propertyList(props []Property) (string, error) {
	var names []string
	for _, p := range props {
		if err := p.Check(); err != nil {
			return "", err
		}
		if !slices.Contains(names, string(p)) {
			names = append(names, string(p))
		}
	}
	return strings.Join(names, ","), nil
}

// Get reads properties of one target, in one process; with none named, all of
// them. A user property that is not set is missing from the result.
func (c *Client) Get(ctx context.Context, t Target, props ...Property) (Values, error) {
	if err := check(nil, t); err != nil {
		return nil, err
	}
	list := "all"
	if len(props) > 0 {
		var err error
		if list, err = propertyList(props); err != nil {
			return nil, err
		}
	}
	out, err := c.zfs(ctx, "get", "-H", "-p", "-o", "name,property,value,source", list, t.String())
	if err != nil {
		return nil, err
	}
	values := Values{}
	err = eachProperty(string(out), func(_ string, p Property, v Value) error {
		values[p] = v
		return nil
	})
	return values, err
}

// Usage is the space accounting of one dataset. One process.
func (c *Client) Usage(ctx context.Context, d Dataset) (gozfs.Dataset, error) {
	values, err := c.Get(ctx, d, PropType, PropOrigin, PropUsed, PropAvailable, PropMountpoint,
		PropCompression, PropQuota, PropReferenced, PropWritten, PropLogicalUsed, "usedbydataset")
	if err != nil {
		return gozfs.Dataset{}, err
	}
	usage := gozfs.Dataset{
		Name:        d.String(),
		Type:        values[PropType].Value,
		Mountpoint:  values[PropMountpoint].Value,
		Compression: values[PropCompression].Value,
	}
	if origin := values[PropOrigin].Value; origin != "-" {
		usage.Origin = origin
	}
	for p, field := range map[Property]*uint64{
		PropUsed: &usage.Used, PropAvailable: &usage.Avail, PropQuota: &usage.Quota,
		PropReferenced: &usage.Referenced, PropWritten: &usage.Written,
		PropLogicalUsed: &usage.Logicalused, "usedbydataset": &usage.Usedbydataset,
	} {
		if *field, err = values.Uint(p); err != nil {
			return gozfs.Dataset{}, fmt.Errorf("usage of %s: %w", d, err)
		}
	}
	return usage, nil
}

// eachProperty parses the output of `zfs get -H -p -o name,property,value,source`.
// A user property that is not set ("-" with source "-") is left out.
func eachProperty(out string, yield func(name string, p Property, v Value) error) error {
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		name, rest, ok1 := strings.Cut(line, "\t")
		property, rest, ok2 := strings.Cut(rest, "\t")
		last := strings.LastIndexByte(rest, '\t')
		if !ok1 || !ok2 || last < 0 || name == "" || property == "" {
			return fmt.Errorf("line %q of zfs get: %w", shorten(line), ErrUnexpectedOutput)
		}
		value := Value{Value: rest[:last]}
		var err error
		if value.Source, value.From, err = parseSource(rest[last+1:]); err != nil {
			return err
		}
		p := Property(property)
		if p.IsUser() && value.Source == SourceNone && value.Value == "-" {
			continue
		}
		if err := yield(name, p, value); err != nil {
			return err
		}
	}
	return nil
}

func parseSource(s string) (kind SourceKind, from string, err error) {
	if from, ok := strings.CutPrefix(s, "inherited from "); ok {
		return SourceInherited, from, nil
	}
	switch s {
	case "-":
		return SourceNone, "", nil
	case "local", "default", "received", "temporary":
		return SourceKind(s), "", nil
	}
	return "", "", fmt.Errorf("property source %q: %w", shorten(s), ErrUnexpectedOutput)
}

// parseItems gathers the lines of each name into an Item.
func parseItems(out string) ([]Item, error) {
	var items []Item
	var current string
	var values Values
	finish := func() error {
		if current == "" {
			return nil
		}
		item, representable, err := newItem(current, values)
		if err == nil && representable {
			items = append(items, item)
		}
		return err
	}
	err := eachProperty(out, func(name string, p Property, v Value) error {
		if name != current {
			if err := finish(); err != nil {
				return err
			}
			current, values = name, Values{}
		}
		values[p] = v
		return nil
	})
	if err == nil {
		err = finish()
	}
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(items, func(a, b Item) int {
		return cmp.Or(cmp.Compare(a.CreateTXG, b.CreateTXG), strings.Compare(a.Target().String(), b.Target().String()))
	})
	return items, nil
}

// newItem is false for an item whose name the types cannot hold.
func newItem(name string, values Values) (Item, bool, error) {
	item := Item{Values: values}
	separator := strings.IndexAny(name, "@#")
	path := name
	switch {
	case separator < 0:
		item.Kind = Kind(values[PropType].Value)
		if _, ok := values[PropType]; !ok {
			return Item{}, false, fmt.Errorf("%s has no type: %w", shorten(name), ErrUnexpectedOutput)
		}
	case name[separator] == '@':
		item.Kind = KindSnapshot
	default:
		item.Kind = KindBookmark
	}
	if separator >= 0 {
		path, item.Name = name[:separator], name[separator+1:]
	}
	var err error
	if item.Dataset, err = ParseDataset(path); err != nil {
		return Item{}, false, nil
	}
	if separator >= 0 && checkLeaf(item.Dataset, name[separator], item.Name) != nil {
		return Item{}, false, nil
	}
	guid, err := values.Uint(PropGUID)
	if err != nil {
		return Item{}, false, fmt.Errorf("%s: %w", shorten(name), err)
	}
	item.GUID = GUID(guid)
	item.CreateTXG, err = values.Uint(PropCreateTXG)
	if err != nil {
		return Item{}, false, fmt.Errorf("%s: %w", shorten(name), err)
	}
	return item, true, nil
}

// shorten keeps foreign text in messages within bounds.
func shorten(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
