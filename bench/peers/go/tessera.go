package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// In this process, to integrated: the future of an Add answers when its entry is in the tree and synced.
func tesseraLog(ctx context.Context, load *Load) ([]Row, error) {
	var rows []Row
	for _, way := range []struct {
		plan     Plan
		batchMax uint
		batchAge time.Duration
	}{
		{Plan{Shape: One, How: "one at a time", Submitters: 1, Batch: 1}, 1, time.Second},
		{Plan{Shape: Many, How: "64 submitting", Submitters: 64, Batch: 1}, 64, time.Millisecond},
		{Plan{Shape: Full, How: "batches of 4,096 from 4 submitters", Submitters: 4, Batch: 1024}, 4096, 100 * time.Millisecond},
	} {
		way.plan.Peer = "Tessera"
		row, err := integrated(ctx, load, way.plan, way.batchMax, way.batchAge)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func integrated(ctx context.Context, load *Load, plan Plan, batchMax uint, batchAge time.Duration) (row Row, err error) {
	key, _, err := note.GenerateKey(rand.Reader, "bench.example/tessera")
	if err != nil {
		return row, err
	}
	signer, err := note.NewSigner(key)
	if err != nil {
		return row, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: filepath.Join(load.Dir, string(plan.Shape))})
	if err != nil {
		return row, err
	}
	options := tessera.NewAppendOptions().WithCheckpointSigner(signer).
		WithBatching(batchMax, batchAge).WithPushback(1 << 20).WithCheckpointInterval(time.Second)
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return row, err
	}
	plan.Stored = func() (uint64, error) {
		size, err := reader.IntegratedSize(ctx)
		return size / plan.Batch, err
	}
	row, err = load.Measure(plan, func(first, count uint64) error {
		futures := make([]tessera.IndexFuture, count)
		for i := range futures {
			futures[i] = appender.Add(ctx, tessera.NewEntry(load.Record(first+uint64(i))))
		}
		for i, future := range futures {
			if _, err := future(); err != nil {
				return fmt.Errorf("entry %d: %w", first+uint64(i), err)
			}
		}
		return nil
	})
	if err != nil {
		return row, err
	}
	return row, shutdown(ctx)
}
