package zfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// StreamHeader is the first record of a send stream (DRR_BEGIN in
// include/sys/zfs_ioctl.h of OpenZFS).
type StreamHeader struct {
	ToGUID, FromGUID GUID // FromGUID is 0 for a full stream
	// ToName is what the sender calls the snapshot: for messages only.
	ToName       string
	CreationTime time.Time
	Features     StreamFeatures
	Flags        uint32
	BigEndian    bool // the sender's byte order
}

// StreamFeatures are the DMU_BACKUP_FEATURE_* bits.
type StreamFeatures uint32

// Features of a stream.
const (
	StreamDedup       StreamFeatures = 1 << 0
	StreamDedupProps  StreamFeatures = 1 << 1
	StreamSpill       StreamFeatures = 1 << 2
	StreamEmbedded    StreamFeatures = 1 << 16
	StreamLZ4         StreamFeatures = 1 << 17
	StreamLargeBlocks StreamFeatures = 1 << 19
	StreamResuming    StreamFeatures = 1 << 20
	StreamRedacted    StreamFeatures = 1 << 21
	StreamCompressed  StreamFeatures = 1 << 22
	StreamLargeDnode  StreamFeatures = 1 << 23
	StreamRaw         StreamFeatures = 1 << 24
	StreamZstd        StreamFeatures = 1 << 25
	StreamHolds       StreamFeatures = 1 << 26
)

// acceptable are the features of what this package's Send makes.
const acceptable = StreamSpill | StreamEmbedded | StreamLZ4 | StreamLargeBlocks | StreamResuming |
	StreamCompressed | StreamLargeDnode | StreamRaw | StreamZstd

// StreamHeaderSize is how many bytes ParseStreamHeader needs
// (sizeof(dmu_replay_record_t)).
const StreamHeaderSize = 312

// Layout of dmu_replay_record_t with drr_begin.
const (
	offMagic    = 8
	offVersion  = 16
	offCreation = 24
	offType     = 32
	offFlags    = 36
	offToGUID   = 40
	offFromGUID = 48
	offToName   = 56

	streamMagic    = 0x2F5bacbac
	recordBegin    = 0
	headerSub      = 1 // DMU_SUBSTREAM: one filesystem
	headerCompound = 2 // DMU_COMPOUNDSTREAM: -R, -I or -p
	objsetZFS      = 2 // DMU_OST_ZFS
	maxPayload     = 1 << 20
	knownDrrFlags  = 0xf // CLONE, CI_DATA, FREERECORDS, SPILL_BLOCK
)

// ParseStreamHeader parses the first record and refuses, with ErrStreamInvalid,
// everything but one plain filesystem stream: a compound stream can create
// children with mountpoints of its choosing.
func ParseStreamHeader(b []byte) (StreamHeader, error) {
	if len(b) < StreamHeaderSize {
		return StreamHeader{}, fmt.Errorf("stream begins with %d bytes, a header has %d: %w", len(b), StreamHeaderSize, ErrStreamIncomplete)
	}
	var order binary.ByteOrder
	switch uint64(streamMagic) {
	case binary.LittleEndian.Uint64(b[offMagic:]):
		order = binary.LittleEndian
	case binary.BigEndian.Uint64(b[offMagic:]):
		order = binary.BigEndian
	default:
		return StreamHeader{}, fmt.Errorf("no ZFS stream (magic %x): %w", b[offMagic:offVersion], ErrStreamInvalid)
	}
	name, _, terminated := bytes.Cut(b[offToName:StreamHeaderSize], []byte{0})
	version := order.Uint64(b[offVersion:])
	h := StreamHeader{
		ToGUID:       GUID(order.Uint64(b[offToGUID:])),
		FromGUID:     GUID(order.Uint64(b[offFromGUID:])),
		ToName:       string(name),
		CreationTime: time.Unix(int64(order.Uint64(b[offCreation:])), 0).UTC(),
		Features:     StreamFeatures(version >> 2 & (1<<30 - 1)),
		Flags:        order.Uint32(b[offFlags:]),
		BigEndian:    order == binary.BigEndian,
	}
	refuse := func(format string, args ...any) (StreamHeader, error) {
		return StreamHeader{}, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrStreamInvalid)
	}
	kind := version & 3
	switch record, payload := order.Uint32(b), order.Uint32(b[4:]); {
	case record != recordBegin:
		return refuse("the stream begins with record %d", record)
	case kind == headerCompound:
		return refuse("the stream holds several filesystems or properties (-R, -I or -p)")
	case kind != headerSub:
		return refuse("the stream is of unknown kind %d", kind)
	case version>>32 != 0:
		return refuse("the stream has unknown version bits %#x", version)
	case h.Features&^acceptable != 0:
		return refuse("the stream uses the features %#x", uint32(h.Features&^acceptable))
	case order.Uint32(b[offType:]) != objsetZFS:
		return refuse("the stream is not of a filesystem (type %d)", order.Uint32(b[offType:]))
	case h.Flags&^knownDrrFlags != 0:
		return refuse("the stream has unknown flags %#x", h.Flags)
	case payload > maxPayload:
		return refuse("the header's payload has %d bytes", payload)
	case payload != 0 && h.Features&(StreamResuming|StreamRaw) == 0:
		return refuse("the header has a payload of %d bytes", payload)
	case h.ToGUID == 0:
		return refuse("the stream names no snapshot GUID")
	case !terminated:
		return refuse("the snapshot's name does not end")
	}
	return h, nil
}

// PeekStreamHeader reads the first record of r and returns a reader that yields
// the whole stream, that record included.
func PeekStreamHeader(r io.Reader) (StreamHeader, io.Reader, error) {
	first := make([]byte, StreamHeaderSize)
	n, err := io.ReadFull(r, first)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return StreamHeader{}, nil, fmt.Errorf("reading the stream's header: %w", err)
	}
	h, err := ParseStreamHeader(first[:n])
	if err != nil {
		return StreamHeader{}, nil, err
	}
	return h, io.MultiReader(bytes.NewReader(first), r), nil
}
