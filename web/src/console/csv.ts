/** A line of a sales file. */
export interface SaleLine {
  booking: string;
  section: string;
  price: number;
  confirmedAt: string;
}

/** Splits CSV by RFC 4180: fields in quotes may hold commas, quotes and line ends. */
export function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let field = '';
  let isQuoted = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!;
    if (isQuoted) {
      if (character !== '"') field += character;
      else if (text[i + 1] === '"') field += text[++i];
      else isQuoted = false;
    } else if (character === '"') isQuoted = true;
    else if (character === ',' || character === '\n') {
      row.push(field);
      field = '';
      if (character === '\n') {
        rows.push(row);
        row = [];
      }
    } else if (character !== '\r') field += character;
  }
  if (field || row.length) rows.push([...row, field]);
  return rows;
}

export function readSales(text: string): SaleLine[] {
  const [names = [], ...rows] = parseCsv(text.replace(/^\ufeff/, ''));
  const column = (name: string) => names.indexOf(name);
  const [booking, section, price, confirmed] = ['booking_id', 'section', 'price', 'confirmed_at'].map(column) as [number, number, number, number];
  return rows.filter((row) => row.length === names.length).map((row) => ({ booking: row[booking]!, section: row[section]!, price: Number(row[price]), confirmedAt: row[confirmed]! }));
}
