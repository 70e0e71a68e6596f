// Command pictures draws the pictures of docs/statistics.md, by simulating
// requests and judging them with the very code that judges rollouts.
//
//	go -C bench run ./pictures [-to ../docs/statistics] [-seed 1]
package main

import (
	"errors"
	"flag"
	"fmt"
	"image/color"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

func main() {
	to := flag.String("to", "../docs/statistics", "the folder to draw into")
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	seed := flag.Uint64("seed", 1, "what the simulations start from")
	flag.Parse()
	for name, draw := range map[string]func(seed uint64) (*plot.Plot, error){
		"peeking": peeking, "evidence": evidence, "change": change, "interval": interval, "margins": margins,
	} {
		p, err := draw(*seed)
		if err == nil {
			err = save(p, filepath.Join(*to, name+".svg"))
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
	}
}

// save draws a picture with a rim, so that no figure on an axis is cut off.
func save(p *plot.Plot, path string) error {
	const rim = vg.Length(12)
	c := vgsvg.New(16*vg.Centimeter, 9*vg.Centimeter)
	p.Draw(draw.Crop(draw.New(c), 0, -rim, rim/2, -rim/2))
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = c.WriteTo(f)
	return errors.Join(err, f.Close())
}

// The colours, which are told apart by people who see few.
var (
	blue   = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	orange = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
	grey   = color.RGBA{0x77, 0x77, 0x77, 0xff}
)

// sheet returns an empty picture.
func sheet(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = vg.Points(8)
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(4)
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	p.Add(grid)
	return p
}

// logarithmic gives a picture a logarithmic upright axis.
func logarithmic(p *plot.Plot, least, most float64) {
	p.Y.Min, p.Y.Max = least, most
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
}

// line adds a line, with a name in the legend unless that is empty.
func line(p *plot.Plot, name string, c color.Color, dashed bool, points plotter.XYs) error {
	l, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	l.Color, l.Width = c, vg.Points(1.3)
	if dashed {
		l.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
	}
	p.Add(l)
	if name != "" {
		p.Legend.Add(name, l)
	}
	return nil
}

// level adds a horizontal line.
func level(p *plot.Plot, name string, y, to float64) error {
	return line(p, name, grey, true, plotter.XYs{{X: 0, Y: y}, {X: to, Y: y}})
}
