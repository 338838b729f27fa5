package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// How long a peer is under load before anything is counted: caches settle in it.
const warmUp = time.Second

// Load is what there is to do.
type Load struct {
	Dir       string
	Seconds   int
	Most      uint64
	ServerPID int
	records   [][]byte
}

func (l *Load) read(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	l.records = bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if len(l.records[0]) == 0 {
		return fmt.Errorf("%s is empty", path)
	}
	return nil
}

// Record number n of those that are sent.
func (l *Load) Record(n uint64) []byte {
	return l.records[n%uint64(len(l.records))]
}

// Shape is how the records are handed in.
type Shape string

const (
	// Full is as the peer takes most of them.
	Full Shape = "full"
	// One is one, and the next when it is acknowledged.
	One Shape = "one"
	// Many is single records too, with 64 outstanding.
	Many Shape = "many"
)

// Row is one measurement.
type Row struct {
	Peer      string `json:"peer"`
	Shape     Shape  `json:"shape"`
	How       string `json:"how"`
	Records   uint64 `json:"records"`
	ElapsedNS int64  `json:"elapsed_ns"`
	// Of an acknowledgement: of a batch's, where records go in batches.
	P50NS int64 `json:"p50_ns"`
	P99NS int64 `json:"p99_ns"`
	// What the disk holds of a record; of a full load alone, since files begin with sizes of their own.
	BytesPerRecord *float64 `json:"bytes_per_record"`
	// At most, the records that are sent included.
	ResidentKiB uint64 `json:"resident_kib"`
	// Whose size that is.
	ResidentOf string `json:"resident_of"`
}

// Plan is one way of handing records in: so many submitters, each of batches of so many records.
type Plan struct {
	Peer       string
	Shape      Shape
	How        string
	Submitters int
	Batch      uint64
	// Stored says how many batches are there in the end.
	Stored func() (uint64, error)
}

// Submit makes records number first to first+count-1 durable, and returns when they are.
type Submit func(first, count uint64) error

// Measure runs the plan; submitter number i uses submit[i], or the only one that there is.
func (l *Load) Measure(plan Plan, submit ...Submit) (Row, error) {
	before, err := diskBytes(l.Dir)
	if err != nil {
		return Row{}, err
	}
	var (
		next, counted atomic.Uint64
		group         sync.WaitGroup
		times         = make([][]time.Duration, plan.Submitters)
		errs          = make(chan error, plan.Submitters)
		since         = time.Now().Add(warmUp)
		until         = since.Add(time.Duration(l.Seconds) * time.Second)
	)
	for i := range plan.Submitters {
		group.Go(func() {
			for time.Now().Before(until) && counted.Load() < l.Most {
				first := next.Add(plan.Batch) - plan.Batch
				begun := time.Now()
				if err := submit[i%len(submit)](first, plan.Batch); err != nil {
					errs <- err
					return
				}
				if ended := time.Now(); ended.After(since) {
					times[i] = append(times[i], ended.Sub(begun))
					counted.Add(plan.Batch)
				}
			}
		})
	}
	group.Wait()
	elapsed := time.Since(since)
	select {
	case err := <-errs:
		return Row{}, fmt.Errorf("%s, %s: %w", plan.Peer, plan.How, err)
	default:
	}
	stored, err := plan.Stored()
	if err != nil {
		return Row{}, err
	}
	if submitted := next.Load() / plan.Batch; stored != submitted {
		return Row{}, fmt.Errorf("%d batches acknowledged, but %d are there", submitted, stored)
	}
	row := Row{Peer: plan.Peer, Shape: plan.Shape, How: plan.How, Records: counted.Load(), ElapsedNS: elapsed.Nanoseconds()}
	if all := slices.Concat(times...); len(all) > 0 {
		slices.Sort(all)
		row.P50NS, row.P99NS = all[len(all)*50/100].Nanoseconds(), all[len(all)*99/100].Nanoseconds()
	}
	row.ResidentOf = "one process"
	if l.ServerPID != 0 {
		row.ResidentOf = "client and server"
	}
	if plan.Shape == Full {
		after, err := diskBytes(l.Dir)
		if err != nil {
			return Row{}, err
		}
		each := float64(after-before) / float64(next.Load())
		row.BytesPerRecord = &each
	}
	row.ResidentKiB, err = l.residentKiB()
	return row, err
}

func (l *Load) residentKiB() (uint64, error) {
	pids := []int{os.Getpid()}
	if l.ServerPID != 0 {
		pids = append(pids, l.ServerPID)
	}
	var sum uint64
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		_, peak, _ := bytes.Cut(status, []byte("\nVmHWM:"))
		var kib uint64
		if _, err := fmt.Sscanf(string(peak), "%d kB", &kib); err != nil {
			return 0, fmt.Errorf("process %d has no VmHWM: %w", pid, err)
		}
		sum += kib
	}
	return sum, nil
}

// What the files below dir take of the disk, in bytes. A server at work may take one away meanwhile.
func diskBytes(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		sum += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	return sum, err
}
