// Goroutines that write and read files.
package main

import (
	"fmt"
	"os"
	"sync"
	"time"
)

func main() {
	var all sync.WaitGroup
	for i := range 20 {
		all.Add(1)
		go func() {
			defer all.Done()
			name := fmt.Sprintf("file-%d", i)
			if err := os.WriteFile(name, []byte(name), 0o644); err != nil {
				panic(err)
			}
			time.Sleep(time.Millisecond)
			if data, err := os.ReadFile(name); err != nil || string(data) != name {
				panic(err)
			}
		}()
	}
	all.Wait()
}
