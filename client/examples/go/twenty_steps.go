// A whole worker in Go.
//
//	client/examples/build.sh go
//	build/examples/go/twenty_steps HOST:PORT SESSION [PAUSE_MS]
//
// Takes 20 steps of three losses and prints the SHA-256 of all updates, which is
// the same from every language (docs/clients.md). PAUSE_MS: how long a "backward
// pass" takes.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log"
	"math"
	"math/rand"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"concord/v1"
)

const (
	losses     = 3
	parameters = 300007
	steps      = 20
	retries    = 100
)

// Numbers in [-1, 1) that float32 holds exactly: the same in every language.
func gradient(loss, step uint64) []byte {
	base := 12345*(loss+1) + step*2654435761
	data := make([]byte, 4*parameters)
	for element := uint64(0); element < parameters; element++ {
		state := (element*1103515245 + base) & 0xFFFFFFFF
		number := float32(int64(state>>16)-32768) / 32768
		binary.LittleEndian.PutUint32(data[4*element:], math.Float32bits(number))
	}
	return data
}

type contribution struct {
	loss uint32
	data []byte
}

// Rank 0 of a session. A step whose stream breaks is asked for again.
type worker struct {
	client      v1.ConcordClient
	session     string
	incarnation uint64 // One for the life of the process: by it the server knows a retry.
	stream      v1.Concord_StepClient
	uid         string
	epoch       uint64
	applied     uint64
	chunkBytes  int
}

func (w *worker) join() error {
	stream, err := w.client.Step(context.Background())
	if err != nil {
		return err
	}
	join := &v1.Join{Session: w.session, Incarnation: w.incarnation, Uid: w.uid}
	if w.uid != "" {
		join.ResumeStep = &w.applied
	}
	request := &v1.StepRequest{Message: &v1.StepRequest_Join{Join: join}}
	if err := stream.Send(request); err != nil {
		_, err = stream.Recv() // Says what was wrong.
		return err
	}
	answer, err := stream.Recv()
	if err != nil {
		return err
	}
	joined := answer.GetJoined()
	w.uid, w.epoch, w.stream = joined.Uid, joined.Epoch, stream
	w.chunkBytes = 1 << 20
	if joined.MaxChunkBytes < uint64(w.chunkBytes) {
		w.chunkBytes = int(joined.MaxChunkBytes)
	}
	return nil
}

func (w *worker) step(contributions []contribution) ([]byte, error) {
	for attempt := uint32(1); ; attempt++ {
		var update []byte
		var err error
		if w.stream == nil {
			err = w.join()
		}
		if err == nil {
			update, err = w.try(contributions, attempt)
		}
		if err == nil {
			w.applied++
			return update, nil
		}
		w.stream = nil
		code := status.Code(err)
		if (code != codes.Unavailable && code != codes.Aborted) || attempt == retries {
			return nil, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (w *worker) try(contributions []contribution, attempt uint32) ([]byte, error) {
	header := &v1.StepHeader{Step: w.applied + 1, Attempt: attempt, Epoch: w.epoch}
	for _, one := range contributions {
		header.Vectors = append(header.Vectors, &v1.VectorHeader{
			Index: one.loss, DataType: v1.DataType_FLOAT32, Length: parameters})
	}
	requests := []*v1.StepRequest{{Message: &v1.StepRequest_Header{Header: header}}}
	for position, one := range contributions {
		for offset := 0; offset < len(one.data); offset += w.chunkBytes {
			end := offset + w.chunkBytes
			if end > len(one.data) {
				end = len(one.data)
			}
			requests = append(requests, &v1.StepRequest{Message: &v1.StepRequest_Chunk{
				Chunk: &v1.VectorChunk{Vector: uint32(position), Offset: uint64(offset),
					Data: one.data[offset:end]}}})
		}
	}
	for _, request := range requests {
		if err := w.stream.Send(request); err != nil {
			break // Recv says what was wrong.
		}
	}
	// Small updates come in one message, others in parts. Only with the trailer
	// is the update valid; its checksum (XXH3) is not looked at here.
	var update []byte
	for {
		answer, err := w.stream.Recv()
		if err != nil {
			return nil, err
		}
		if reply := answer.GetReply(); reply != nil {
			return reply.Data, nil
		}
		if chunk := answer.GetChunk(); chunk != nil {
			update = append(update, chunk.Data...)
		}
		if answer.GetTrailer() != nil {
			return update, nil
		}
	}
}

func (w *worker) leave() {
	if w.stream == nil {
		return
	}
	leave := &v1.StepRequest{Message: &v1.StepRequest_Leave{Leave: &v1.Leave{}}}
	if w.stream.Send(leave) == nil && w.stream.CloseSend() == nil {
		w.stream.Recv() // The server's end of the stream.
	}
}

func main() {
	pause := 0
	if len(os.Args) > 3 {
		pause, _ = strconv.Atoi(os.Args[3])
	}
	connection, err := grpc.Dial(os.Args[1], grpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	client := v1.NewConcordClient(connection)
	session, err := client.CreateSession(context.Background(), &v1.CreateSessionRequest{
		SessionId: os.Args[2],
		Session:   &v1.Session{NumVectors: losses, NumParameters: parameters}})
	if err != nil {
		log.Fatal(err)
	}
	rand.Seed(time.Now().UnixNano())
	w := &worker{client: client, session: session.Name, incarnation: rand.Uint64() | 1}
	digest := sha256.New()
	for step := uint64(1); step <= steps; step++ {
		var contributions []contribution
		for loss := uint64(0); loss < losses; loss++ {
			if step == 1 || loss == step%losses {
				contributions = append(contributions,
					contribution{uint32(loss), gradient(loss, step)})
			}
		}
		time.Sleep(time.Duration(pause) * time.Millisecond)
		update, err := w.step(contributions)
		if err != nil {
			log.Fatal(err)
		}
		digest.Write(update)
	}
	w.leave()
	fmt.Printf("%x\n", digest.Sum(nil))
}
