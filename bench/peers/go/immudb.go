package main

import (
	"context"
	"encoding/binary"
	"path/filepath"

	"github.com/codenotary/immudb/pkg/api/schema"
	"github.com/codenotary/immudb/pkg/client"
)

// Over loopback, to a server in synced mode, with a connection for each submitter. Each way has a database of its own.
func immudb(ctx context.Context, load *Load, port int) ([]Row, error) {
	var rows []Row
	for _, way := range []struct {
		plan Plan
		// How long the server gathers transactions for one sync; 0 syncs each as it comes.
		syncMS int64
	}{
		{Plan{Shape: One, How: "one at a time", Submitters: 1, Batch: 1}, 0},
		{Plan{Shape: Many, How: "64 submitting", Submitters: 64, Batch: 1}, 0},
		{Plan{Shape: Full, How: "SetAll of 1,000 from 28 clients", Submitters: 28, Batch: 1000}, 20},
	} {
		way.plan.Peer = "immudb"
		row, err := synced(ctx, load, port, way.plan, way.syncMS)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func synced(ctx context.Context, load *Load, port int, plan Plan, syncMS int64) (Row, error) {
	admin, err := session(ctx, load, port, "defaultdb")
	if err != nil {
		return Row{}, err
	}
	defer admin.CloseSession(ctx)
	database := "records" + string(plan.Shape)
	settings := &schema.DatabaseNullableSettings{
		MaxConcurrency: &schema.NullableUint32{Value: uint32(plan.Submitters + 2)},
		SyncFrequency:  &schema.NullableMilliseconds{Value: syncMS},
	}
	if _, err := admin.CreateDatabaseV2(ctx, database, settings); err != nil {
		return Row{}, err
	}
	watcher, err := session(ctx, load, port, database)
	if err != nil {
		return Row{}, err
	}
	defer watcher.CloseSession(ctx)
	created, err := watcher.CurrentState(ctx)
	if err != nil {
		return Row{}, err
	}
	plan.Stored = func() (uint64, error) {
		state, err := watcher.CurrentState(ctx)
		return state.GetTxId() - created.GetTxId(), err
	}
	submits := make([]Submit, plan.Submitters)
	for i := range submits {
		own, err := session(ctx, load, port, database)
		if err != nil {
			return Row{}, err
		}
		defer own.CloseSession(ctx)
		submits[i] = func(first, count uint64) error {
			// Acknowledged when it is synced, not when it can be searched for as well.
			request := &schema.SetRequest{NoWait: true, KVs: make([]*schema.KeyValue, count)}
			for i := range request.KVs {
				n := first + uint64(i)
				request.KVs[i] = &schema.KeyValue{Key: binary.BigEndian.AppendUint64(nil, n), Value: load.Record(n)}
			}
			_, err := own.SetAll(ctx, request)
			return err
		}
	}
	return load.Measure(plan, submits...)
}

func session(ctx context.Context, load *Load, port int, database string) (client.ImmuClient, error) {
	options := client.DefaultOptions().WithPort(port).WithDir(filepath.Join(load.Dir, "..")).WithDisableIdentityCheck(true)
	own := client.NewClient().WithOptions(options)
	return own, own.OpenSession(ctx, []byte("immudb"), []byte("immudb"), database)
}
