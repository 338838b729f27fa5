// Files through the thread pool, and timers.
const fs = require('fs');
fs.writeFileSync('one', 'x'.repeat(1000));
let left = 10;
for (let i = 0; i < 10; i++) {
  setTimeout(() => {
    fs.readFile('one', (error, data) => {
      if (error) throw error;
      fs.writeFile(`copy-${i}`, data, (error) => {
        if (error) throw error;
        fs.unlink(`copy-${i}`, () => { if (--left === 0) fs.unlinkSync('one'); });
      });
    });
  }, i * 3);
}
