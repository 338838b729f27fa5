// Makes the records of a file durable with something that is not Graven, and prints a line of JSON for each way
// of doing so. The same words and meanings as in ../rust.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var load Load
	records := flag.String("records", "", "file of records, one a line; they are sent in turn, again and again")
	flag.StringVar(&load.Dir, "dir", "", "where the data is, on the disk that is measured")
	flag.IntVar(&load.Seconds, "seconds", 5, "longest time that is counted of one measurement")
	flag.Uint64Var(&load.Most, "most", 1_000_000, "most records of one measurement")
	flag.IntVar(&load.ServerPID, "server-pid", 0, "the server, whose size counts too")
	port := flag.Int("port", 3322, "where immudb listens, on the loopback interface")
	flag.Parse()
	if err := load.read(*records); err != nil {
		return err
	}
	var rows []Row
	var err error
	switch peer := flag.Arg(0); peer {
	case "immudb":
		rows, err = immudb(ctx, &load, *port)
	case "tessera":
		rows, err = tesseraLog(ctx, &load)
	default:
		err = fmt.Errorf("%q is neither immudb nor tessera", peer)
	}
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for _, row := range rows {
		if err := out.Encode(row); err != nil {
			return err
		}
	}
	return nil
}
